"""Turn the outcome of a search into a plan: what changes, for whom, and why in words."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.plan import Eviction, Hold, Move, Placement, Plan
from scheduling.planner.problem import NOWHERE, Problem
from scheduling.planner.reasons.minimality import Prover
from scheduling.planner.reasons.wait_reason import Shortage, amount


class Writer:
    def __init__(self, problem: Problem, outcome: Outcome) -> None:
        self._problem = problem
        self._where = outcome.where
        self._outcome = outcome
        self._starters: dict[int, list[int]] = defaultdict(list)
        self._stayers: dict[int, list[int]] = defaultdict(list)
        for d, c in outcome.where.items():
            (self._stayers if problem.home[d] == c else self._starters)[c].append(d)
        self._reserved = {r.deployment: r for r in outcome.reservations.values()}
        self._left = list(self._leavers())
        self._prover = Prover(problem)
        self._minimal: dict[int, bool] = {}
        self._shortages: dict[tuple[Any, ...], Shortage] = {}

    def plan(self) -> Plan:
        placements: list[Placement] = []
        evictions: list[Eviction] = []
        moves: list[Move] = []
        holds: list[Hold] = []
        victims: dict[int, int] = defaultdict(int)
        for d in self._left:
            cause = self._cause(d)
            if cause is not None:
                victims[cause] += 1
            if d in self._where:
                moves.append(self._move(d, cause))
            else:
                evictions.append(self._eviction(d, cause))
        for d, home in enumerate(self._problem.home):
            if home == NOWHERE and d in self._where:
                placements.append(self._placement(d, victims[d]))
            elif home == NOWHERE:
                holds.append(self._hold(d))
        return Plan(tuple(placements), tuple(evictions), tuple(moves), tuple(holds))

    def _leavers(self) -> Iterator[int]:
        """Yield the active ones that leave their cluster, in the order of their ids."""
        taking_part = set(self._where)
        for level in self._problem.levels:
            taking_part.update(level.drained, *[due.members for due in level.due])
        for d in sorted(taking_part):
            home = self._problem.home[d]
            if home != NOWHERE and self._where.get(d) != home:
                yield d

    def _cause(self, leaver: int) -> int | None:
        """Return the starter that took the room: the first, from the highest, beside whom the
        leaver does not fit; None when its cluster drains.
        """
        problem = self._problem
        home = problem.home[leaver]
        if not problem.open[home]:
            return None
        mine = problem.deployments[leaver].priority
        above = [
            s
            for s in self._starters[home]
            if problem.deployments[s].priority >= problem.threshold[leaver]
        ]
        starters = self._by_priority(above)
        lowest = min(problem.deployments[s].priority for s in starters)
        left = problem.rooms[home] - problem.requests[leaver]
        for d in self._stayers[home]:
            if problem.deployments[d].priority >= mine or problem.threshold[d] > lowest:
                left -= problem.requests[d]
        last = starters[0]
        for last in starters:
            left -= problem.requests[last]
            if left & OVERDRAWN:
                break
        return last

    def _is_minimal(self, home: int) -> bool:
        """Say whether it is proved that no smaller harm there would have done."""
        known = self._minimal.get(home)
        if known is None:
            gone = [d for d in self._left if self._problem.home[d] == home]
            known = self._minimal[home] = self._prover.is_minimal(
                home, self._starters[home], self._stayers[home], gone
            )
        return known

    def _by_priority(self, members: list[int]) -> list[int]:
        return sorted(members, key=lambda d: (-self._problem.deployments[d].priority, d))

    def _id(self, d: int | None) -> int | None:
        return None if d is None else self._problem.deployments[d].id

    def _label(self, c: int) -> str:
        return self._problem.clusters[c].label

    def _placement(self, d: int, victims: int) -> Placement:
        c = self._where[d]
        deployment = self._problem.deployments[d]
        needs = f"needs {amount(deployment.request)}"
        if victims:
            code = "preempting"
            whom = "1 deployment" if victims == 1 else f"{victims} deployments"
            why = f"takes the room of {whom} of lower priority than {deployment.priority}"
        else:
            code, why = "placed", "there is room"
        return Placement(
            deployment.id,
            self._problem.clusters[c].id,
            code,
            f"On {self._label(c)}: {needs}, {why}.",
        )

    def _made_room(self, cause: int) -> str:
        starter = self._problem.deployments[cause]
        return (
            f"makes room for deployment {starter.id} of priority {starter.priority}, "
            f"which needs {amount(starter.request)}"
        )

    def _eviction(self, d: int, cause: int | None) -> Eviction:
        problem = self._problem
        home = problem.home[d]
        deployment = problem.deployments[d]
        if cause is None:
            code, why = "drained", f"{self._label(home)} drains and no other cluster has room"
        else:
            code, why = "preempted", f"{self._made_room(cause)}, on {self._label(home)}"
        proved = cause is not None and self._is_minimal(home)
        return Eviction(
            deployment.id,
            problem.clusters[home].id,
            self._id(cause),
            proved,
            code,
            f"Priority {deployment.priority} {why}." if cause is not None else f"{why}.",
        )

    def _move(self, d: int, cause: int | None) -> Move:
        problem = self._problem
        home = problem.home[d]
        target = self._where[d]
        path = f"From {self._label(home)} to {self._label(target)}"
        if cause is None:
            code, why = "drained", f"{self._label(home)} drains"
        else:
            code, why = "preempted", self._made_room(cause)
        return Move(
            problem.deployments[d].id,
            problem.clusters[home].id,
            problem.clusters[target].id,
            self._id(cause),
            code,
            f"{path}: {why}.",
        )

    def _hold(self, d: int) -> Hold:
        """Those of one shape and level share one shortage: it is worded once."""
        deployment = self._problem.deployments[d]
        own = self._reserved.get(d)
        key: tuple[Any, ...] = (
            deployment.priority,
            self._problem.requests[d],
            deployment.requested_cluster,
            own,
        )
        if self._outcome.reservations:
            key += (deployment.max_runtime_s, self._problem.threshold_once_started(d))
        shortage = self._shortages.get(key)
        if shortage is None:
            shortage = Shortage(self._problem, self._outcome, d, own)
            self._shortages[key] = shortage
        return Hold(deployment.id, shortage.code, shortage, shortage.reason)
