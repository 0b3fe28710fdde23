"""Place the deployments that start elsewhere, so that a victim keeps its place.

An attempt places one deployment after another and does not know on which node a later one has to
evict anyway. Here all that start are known.
"""

from collections.abc import Iterator

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import NEVER, Problem
from scheduling.planner.resources import NOTHING

_STEPS = 2_000  # changes of node to examine for one victim
_CHANGES = 6  # deployments that change their node for one victim


class Relocation:
    """The changes to an outcome that each let a victim stay, and all others run that run.

    A victim lost its place on a node that takes deployments. Deployments that start may change
    to any node that is not reserved for another one of their level or above. The other victims
    of a node stay as well if none of those that start there then may evict them. `effort_left`
    is the number of pairs of a deployment and a node that may still be examined.
    """

    def __init__(self, problem: Problem, outcome: Outcome, effort_left: int) -> None:
        self._problem = problem
        self._where = where = outcome.where
        self._reserved = outcome.reservations
        self._free = problem.capacities.copy()
        self._movable: dict[int, list[int]] = {}
        self._victims = {
            c: lost
            for c, members in enumerate(problem.eviction_order)
            if (lost := [v for v in members if where.get(v) != c])
        }
        for d, c in where.items():
            self._free[c] -= problem.requests[d]
            if c != problem.home[d] and d not in problem.suspended:
                self._movable.setdefault(c, []).append(d)
        self.effort_left = effort_left
        self._steps_left = 0

    def changes(self) -> Iterator[dict[int, int]]:
        """Yield nodes for deployments that start, each time for another victim."""
        problem, where = self._problem, self._where
        left = sum((unpack(self._free[c]) for c, o in enumerate(problem.open) if o), NOTHING)
        victims = [v for lost in self._victims.values() for v in lost]
        for v in sorted(victims, key=lambda v: (v in where, -problem.loss[v], v)):
            request = problem.deployments[v].request
            if self.effort_left <= 0:
                return
            if v in where or request.fits_in(left):
                found = self._relocate_for(v)
                if found is not None:
                    yield found

    def _relocate_for(self, v: int) -> dict[int, int] | None:
        """Return new nodes with which v fits at home; None if none are found."""
        home, request = self._problem.home[v], self._problem.requests[v]
        self._steps_left = _STEPS
        free = self._free.copy()
        free[home] -= request
        now = self._where.get(v)
        if now is not None:
            free[now] += request
        for depth in range(1, _CHANGES + 1):
            changed = {v: home}
            found = self._fits(free, (home,), changed, depth)
            if found or self._steps_left <= 0:
                return changed if found else None
        return None

    def _fits(
        self, free: list[int], used: tuple[int, ...], changed: dict[int, int], depth: int
    ) -> bool:
        """Change the nodes of at most `depth` deployments until no node is overdrawn.

        Only those in `used`, which have taken a deployment, may be overdrawn.
        """
        over = next((c for c in used if free[c] & OVERDRAWN), None)
        if over is None:
            return all(self._others_leave(free, c, changed) for c in used)
        if depth == 0:
            return False
        problem, requests = self._problem, self._problem.requests
        here = [d for d in self._movable.get(over, ()) if d not in changed]
        for d in here:
            for c in problem.eligible[d]:
                if c == over or self._is_reserved(c, d) or self._steps_left <= 0:
                    continue
                self._steps_left -= 1
                self.effort_left -= 1
                if depth == 1 and (free[c] - requests[d]) & OVERDRAWN:
                    continue
                free[over] += requests[d]
                free[c] -= requests[d]
                changed[d] = c
                if self._fits(free, (*used, c), changed, depth - 1):
                    return True
                del changed[d]
                free[over] -= requests[d]
                free[c] += requests[d]
        return False

    def _others_leave(self, free: list[int], c: int, changed: dict[int, int]) -> bool:
        """Return whether the other victims of c leave it as well, or fit there if they stay."""
        problem, others = self._problem, [v for v in self._victims.get(c, ()) if v not in changed]
        if not others:
            return True
        starting = [d for d in self._movable.get(c, ()) if d not in changed]
        starting += [d for d, node in changed.items() if node == c != problem.home[d]]
        highest = max([problem.deployments[d].priority for d in starting], default=-NEVER)
        stay = [v for v in others if problem.threshold[v] > highest]
        return not (free[c] - sum([problem.requests[v] for v in stay])) & OVERDRAWN

    def _is_reserved(self, c: int, d: int) -> bool:
        reservation, deployments = self._reserved.get(c), self._problem.deployments
        if reservation is None:
            return False
        return deployments[reservation.deployment].priority >= deployments[d].priority
