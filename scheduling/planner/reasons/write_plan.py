"""Turn the outcome of a search into a plan: what changes, for which deployment, and why."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.plan import Eviction, Move, Placement, Plan, WaitReason
from scheduling.planner.problem import NOWHERE, Problem
from scheduling.planner.reasons.minimality import Prover
from scheduling.planner.reasons.wait_reason import Detail, amount


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
        self._displaced = list(self._find_displaced())
        self._prover = Prover(problem)
        self._minimal: dict[int, bool] = {}
        self._details: dict[tuple[Any, ...], Detail] = {}

    def plan(self) -> Plan:
        placements: list[Placement] = []
        evictions: list[Eviction] = []
        moves: list[Move] = []
        wait_reasons: list[WaitReason] = []
        victims: dict[int, int] = defaultdict(int)
        for d in self._displaced:
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
                wait_reasons.append(self._wait_reason(d))
        return Plan(tuple(placements), tuple(evictions), tuple(moves), tuple(wait_reasons))

    def _find_displaced(self) -> Iterator[int]:
        """Yield the active deployments that are evicted or moved, in the order of their ids."""
        taking_part = set(self._where)
        for level in self._problem.levels:
            taking_part.update(level.drained, *[due.members for due in level.due])
        for d in sorted(taking_part):
            home = self._problem.home[d]
            if home != NOWHERE and self._where.get(d) != home:
                yield d

    def _cause(self, victim: int) -> int | None:
        """Return the starter that displaces the victim; None when its cluster drains.

        That is the first, from the highest priority down, beside which the victim does not fit.
        """
        problem = self._problem
        home = problem.home[victim]
        if not problem.open[home]:
            return None
        mine = problem.deployments[victim].priority
        above = [
            s
            for s in self._starters[home]
            if problem.deployments[s].priority >= problem.threshold[victim]
        ]
        starters = self._by_priority(above)
        lowest = min(problem.deployments[s].priority for s in starters)
        left = problem.capacities[home] - problem.requests[victim]
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
        """Say whether it is proved that less harm on that cluster would not be enough."""
        known = self._minimal.get(home)
        if known is None:
            gone = [d for d in self._displaced if self._problem.home[d] == home]
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
            why = f"preempts {whom} of lower priority than {deployment.priority}"
        else:
            code, why = "placed", "which is free"
        return Placement(
            deployment.id,
            self._problem.clusters[c].id,
            code,
            f"On {self._label(c)}: {needs}, {why}.",
        )

    def _for_preemptor(self, cause: int) -> str:
        starter = self._problem.deployments[cause]
        return (
            f"preempted for deployment {starter.id} of priority {starter.priority}, "
            f"which needs {amount(starter.request)}"
        )

    def _eviction(self, d: int, cause: int | None) -> Eviction:
        problem = self._problem
        home = problem.home[d]
        deployment = problem.deployments[d]
        if cause is None:
            code, why = "drained", f"{self._label(home)} drains, and no other cluster can run it"
        else:
            code, why = "preempted", f"{self._for_preemptor(cause)}, on {self._label(home)}"
        proved = cause is not None and self._is_minimal(home)
        return Eviction(
            deployment.id,
            problem.clusters[home].id,
            self._id(cause),
            proved,
            code,
            f"Priority {deployment.priority}: {why}." if cause is not None else f"{why}.",
        )

    def _move(self, d: int, cause: int | None) -> Move:
        problem = self._problem
        home = problem.home[d]
        target = self._where[d]
        path = f"From {self._label(home)} to {self._label(target)}"
        if cause is None:
            code, why = "drained", f"{self._label(home)} drains"
        else:
            code, why = "preempted", self._for_preemptor(cause)
        return Move(
            problem.deployments[d].id,
            problem.clusters[home].id,
            problem.clusters[target].id,
            self._id(cause),
            code,
            f"{path}: {why}.",
        )

    def _wait_reason(self, d: int) -> WaitReason:
        """Return why d waits. Deployments of one shape and level share the detail."""
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
        detail = self._details.get(key)
        if detail is None:
            detail = Detail(self._problem, self._outcome, d, own)
            self._details[key] = detail
        return WaitReason(deployment.id, detail.code, detail, detail.reason)
