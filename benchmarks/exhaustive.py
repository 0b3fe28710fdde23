"""Search all plans of a small world for one that evicts less than a given plan.

The search knows nothing of the planner's. Whether a plan is allowed is decided by `rules`.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.rules import Result, capacity, in_order, no_idle_waiting, only_when_needed
from scheduling.planner.plan import Eviction, Move, Placement
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import ClusterState, Deployment

_STEPS = 20_000  # deployments to place on paper, in one world

Where = dict[int, int | None]


class Avoidable:
    """Evictions and moves of a result that a plan for the same running deployments avoids.

    In the other plan all run that run in the result, and only deployments lose their place that
    lose it in the result as well, but not all of these. `searched`: there is such a deployment, and
    all plans were examined. Deployments for which preemption is suspended stay as they are in the
    result. Nothing is searched if a deployment starts that has to respect a reservation, because in
    another plan another cluster could be reserved.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._steps = _STEPS
        rows = result.deployments.values()
        self._victims = [
            d
            for d in rows
            if d.cluster is not None
            and result.after.get(d.id) != d.cluster
            and result.clusters[d.cluster].state == ClusterState.ACTIVE
        ]
        starters = [
            d for d in rows
            if d not in self._victims and result.after.get(d.id, d.cluster) != d.cluster
        ]  # fmt: skip
        self._rows = [*self._victims, *starters]
        self._places = [self._options(d) for d in self._rows]
        self._found: Where | None = None
        highest = max([result.deployments[h].priority for h in result.holders()], default=0)
        searches = bool(self._victims) and all(s.priority > highest for s in starters)
        if searches:
            self._search(0, {}, self._left())
        self.searched = searches and self._steps > 0

    def sentences(self) -> Iterator[str]:
        if self._found is not None:
            kept = [v.id for v in self._victims if self._found[v.id] == v.cluster]
            yield f"rule 8: {kept} lose their place, but the same deployments run if they stay"

    def _options(self, d: Deployment) -> list[int | None]:
        """Return where d may be in the other plan, first its home, then its present place."""
        now = self._result.after.get(d.id)
        if self._result.is_suspended(d):
            return [now]
        places = [d.cluster, now] if d in self._victims else [now]
        if now is not None:
            places += [
                c.id for c in self._result.clusters.values() if self._result.is_eligible(c, d)
            ]
        return list(dict.fromkeys(places))

    def _left(self) -> dict[int, Resources]:
        left = {c.id: c.capacity for c in self._result.clusters.values()}
        searched = {d.id for d in self._rows}
        for id_, c in self._result.after.items():
            if id_ not in searched:
                left[c] -= self._result.deployments[id_].request
        return left

    def _search(self, number: int, where: Where, left: dict[int, Resources]) -> None:
        self._steps -= 1
        if self._found is not None or self._steps <= 0:
            return
        if number == len(self._victims) and all(where[v.id] != v.cluster for v in self._victims):
            return
        if number == len(self._rows):
            if self._is_allowed(where):
                self._found = dict(where)
            return
        d = self._rows[number]
        for c in self._places[number]:
            if c is None:
                self._search(number + 1, {**where, d.id: None}, left)
            elif d.request.fits_in(left[c]):
                self._search(number + 1, {**where, d.id: c}, {**left, c: left[c] - d.request})

    def _is_allowed(self, where: Where) -> bool:
        result = self._result
        placements, evictions, moves = [], [], []
        for d in self._rows:
            c = where[d.id]
            if d.cluster is None and c is not None:
                placements.append(Placement(d.id, c, "", ""))
            elif d.cluster is not None and c is None:
                evictions.append(Eviction(d.id, d.cluster, None, False, "", ""))
            elif d.cluster is not None and c is not None and c != d.cluster:
                moves.append(Move(d.id, d.cluster, c, None, "", ""))
        plan = replace(
            result.plan,
            placements=tuple(placements),
            evictions=(*evictions, *self._drained()),
            moves=tuple(moves),
        )
        other = Result(result.snapshot, plan)
        rules = (capacity, only_when_needed, no_idle_waiting, in_order)
        return not any(True for rule in rules for _ in rule(other))

    def _drained(self) -> list[Eviction]:
        """Return the evictions from draining clusters, which no plan avoids."""
        victims = {v.id for v in self._victims}
        return [e for e in self._result.plan.evictions if e.deployment not in victims]
