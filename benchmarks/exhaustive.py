"""Search all plans of a small world for one that evicts less than a given plan.

The search knows nothing of the planner's. Whether a plan is allowed is decided by `rules`.
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.reservations import unreserved
from benchmarks.rules import Result, capacity, in_order, no_idle_waiting, only_when_needed
from scheduling.planner.plan import Eviction, Move, Placement
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import ClusterState, Deployment, Place

_STEPS = 20_000  # deployments to place on paper, in one world

Where = dict[int, Place | None]


class Avoidable:
    """Evictions and moves of a result that a plan for the same running deployments avoids.

    In the other plan all run that run in the result, and only deployments lose their place that
    lose it in the result as well, but not all of these. `searched`: there is such a deployment, and
    all plans were examined. Deployments for which preemption is suspended stay as they are in the
    result. Nothing is searched if a deployment starts that has to respect a reservation, because in
    another plan another node could be reserved. For the same reason the other plan must not demand
    a reservation that the result does not have.
    """

    def __init__(self, result: Result) -> None:
        self._result = result
        self._steps = _STEPS
        self._homes = homes = result.homes
        self._victims = [
            result.deployments[id_]
            for id_, home in homes.items()
            if result.after.get(id_) != home and result.bins[home].state == ClusterState.ACTIVE
        ]
        starters = [
            result.deployments[id_]
            for id_, place in result.after.items()
            if homes.get(id_) != place and result.deployments[id_] not in self._victims
        ]
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
            kept = [v.id for v in self._victims if self._found[v.id] == self._homes[v.id]]
            yield f"rule 8: {kept} lose their place, but the same deployments run if they stay"

    def _options(self, d: Deployment) -> list[Place | None]:
        """Return where d may be in the other plan, first its home, then its present place."""
        now = self._result.after.get(d.id)
        if self._result.is_suspended(d):
            return [now]
        places = [self._homes[d.id], now] if d in self._victims else [now]
        if now is not None:
            places += [p for p, b in self._result.bins.items() if self._result.is_eligible(b, d)]
        return list(dict.fromkeys(places))

    def _left(self) -> dict[Place, Resources]:
        left = {place: bin_.capacity for place, bin_ in self._result.bins.items()}
        searched = {d.id for d in self._rows}
        for id_, place in self._result.after.items():
            if id_ not in searched:
                left[place] -= self._result.deployments[id_].request
        return left

    def _search(self, number: int, where: Where, left: dict[Place, Resources]) -> None:
        self._steps -= 1
        if self._found is not None or self._steps <= 0:
            return
        if number == len(self._victims) and self._all_leave(where):
            return
        if number == len(self._rows):
            if self._is_allowed(where):
                self._found = dict(where)
            return
        d = self._rows[number]
        for p in self._places[number]:
            if p is None:
                self._search(number + 1, {**where, d.id: None}, left)
            elif d.request.fits_in(left[p]):
                self._search(number + 1, {**where, d.id: p}, {**left, p: left[p] - d.request})

    def _all_leave(self, where: Where) -> bool:
        return all(where[v.id] != self._homes[v.id] for v in self._victims)

    def _is_allowed(self, where: Where) -> bool:
        result = self._result
        placements, evictions, moves = [], [], []
        for d in self._rows:
            home, place = self._homes.get(d.id), where[d.id]
            if home is None and place is not None:
                placements.append(Placement(d.id, *place, "", ""))
            elif home is not None and place is None:
                evictions.append(Eviction(d.id, *home, None, False, "", ""))
            elif home is not None and place is not None and place != home:
                moves.append(Move(d.id, *home, *place, None, "", ""))
        plan = replace(
            result.plan,
            placements=tuple(placements),
            evictions=(*evictions, *self._drained()),
            moves=tuple(moves),
        )
        other = Result(result.snapshot, plan)
        rules = (capacity, only_when_needed, no_idle_waiting, in_order, unreserved)
        return not any(True for rule in rules for _ in rule(other))

    def _drained(self) -> list[Eviction]:
        """Return the evictions from draining nodes, which no plan avoids."""
        victims = {v.id for v in self._victims}
        return [e for e in self._result.plan.evictions if e.deployment not in victims]
