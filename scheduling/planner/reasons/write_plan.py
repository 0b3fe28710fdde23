"""Turn the outcome of a search into a plan with a reason for each decision."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from typing import Any

from scheduling.planner.outcome import Outcome
from scheduling.planner.plan import (
    Eviction,
    Move,
    Placement,
    Plan,
    WaitReason,
    WaitReasons,
)
from scheduling.planner.problem import NOWHERE, Problem
from scheduling.planner.reasons.codes import common_code
from scheduling.planner.reasons.minimality import Prover
from scheduling.planner.reasons.preemptors import Assignment
from scheduling.planner.reasons.supply import Supplies
from scheduling.planner.reasons.wait_reason import Reason
from scheduling.planner.snapshot import Deployment


class Writer:
    def __init__(self, problem: Problem, outcome: Outcome) -> None:
        self._problem = problem
        self._where = outcome.where
        self._outcome = outcome
        self._starting: dict[int, list[int]] = defaultdict(list)
        self._staying: dict[int, list[int]] = defaultdict(list)
        for d, c in outcome.where.items():
            (self._staying if problem.home[d] == c else self._starting)[c].append(d)
        self._reserved = {r.deployment: r for r in outcome.reservations.values()}
        self._displaced = list(self._find_displaced())
        self._victims: dict[int, list[int]] = defaultdict(list)
        for d in self._displaced:
            self._victims[problem.home[d]].append(d)
        self._preemptors = self._assign()
        self._prover = Prover(problem)
        self._minimal: dict[int, bool] = {}
        self._index = {
            problem.deployments[d].id: d
            for d, home in enumerate(problem.home)
            if home == NOWHERE and d not in outcome.where
        }
        self._number = len(self._index) + len(problem.snapshot.deployments) - problem.planned
        self._supplies = Supplies(problem, outcome, self._staying, self._number)
        self._reasons: dict[tuple[Any, ...], Reason] = {}

    def plan(self) -> Plan:
        placements: list[Placement] = []
        evictions: list[Eviction] = []
        moves: list[Move] = []
        victims: dict[int, int] = defaultdict(int)
        for d in self._displaced:
            cause = self._preemptors.get(d)
            if cause is not None:
                victims[cause] += 1
            if d in self._where:
                moves.append(self._move(d, cause))
            else:
                evictions.append(self._eviction(d, cause))
        for d, home in enumerate(self._problem.home):
            if home == NOWHERE and d in self._where:
                placements.append(self._placement(d, victims[d]))
        turns = sorted(self._problem.turns.values(), key=lambda turn: turn.deployment)
        return Plan(
            tuple(placements), tuple(evictions), tuple(moves), self._wait_reasons(), tuple(turns)
        )

    def _wait_reasons(self) -> WaitReasons:
        return WaitReasons(
            self._number,
            self._find_waiting,
            self._find_one,
            self._wait_reason,
            self._supplies.basis,
            [self._problem.deployments[d] for d in self._reserved],
            partial(common_code, self._supplies),
        )

    def _find_waiting(self) -> list[Deployment]:
        """Return the deployments that wait, by id."""
        problem = self._problem
        planned = [problem.deployments[d] for d in self._index.values()]
        if not problem.has_left_out:
            return planned
        return sorted([*planned, *problem.left_out], key=attrgetter("id"))

    def _find_one(self, deployment: int) -> Deployment | None:
        """Return the deployment with this id, None if it does not wait."""
        d = self._index.get(deployment)
        if d is None:
            return self._problem.find_left_out(deployment)
        return self._problem.deployments[d]

    def _find_displaced(self) -> Iterator[int]:
        """Yield the active deployments that are evicted or moved, in the order of their ids."""
        participants = set(self._where)
        for level in self._problem.levels:
            participants.update(level.drained, *[due.members for due in level.due])
        for d in sorted(participants):
            home = self._problem.home[d]
            if home != NOWHERE and self._where.get(d) != home:
                yield d

    def _assign(self) -> dict[int, int]:
        """Return the preemptor of each victim. A draining node loses deployments without one."""
        preemptors: dict[int, int] = {}
        for c, victims in self._victims.items():
            if self._problem.open[c]:
                starting, staying = self._starting[c], self._staying[c]
                assignment = Assignment(self._problem, c, starting, staying, victims)
                preemptors |= assignment.preemptors()
        return preemptors

    def _is_minimal(self, home: int) -> bool:
        """Return whether it is proved that less harm on that node would not be enough."""
        known = self._minimal.get(home)
        if known is None:
            known = self._minimal[home] = self._prover.is_minimal(
                home, self._starting[home], self._staying[home], self._victims[home]
            )
        return known

    def _id(self, d: int | None) -> int | None:
        return None if d is None else self._problem.deployments[d].id

    def _label(self, c: int) -> str:
        return self._problem.bins[c].label

    def _placement(self, d: int, victims: int) -> Placement:
        c = self._where[d]
        deployment = self._problem.deployments[d]
        if victims:
            number = "1 deployment" if victims == 1 else f"{victims:,} deployments"
            code, how = "preempting", f"by preempting {number} below priority {deployment.priority}"
        else:
            code, how = "placed", "in free capacity"
        return Placement(
            deployment.id,
            *self._problem.bins[c].place,
            code,
            f"Needs {deployment.request.positive}; placed on {self._label(c)} {how}.",
        )

    def _for_preemptor(self, cause: int) -> str:
        preemptor = self._problem.deployments[cause]
        return (
            f"for deployment {preemptor.id} of priority {preemptor.priority}, which needs"
            f" {preemptor.request.positive}"
        )

    def _eviction(self, d: int, cause: int | None) -> Eviction:
        problem = self._problem
        home = problem.home[d]
        deployment = problem.deployments[d]
        label = self._label(home)
        if cause is None:
            other = "cluster" if problem.bins[home].is_only else "node"
            code, why = "drained", f"{label} is draining, and no other {other} can run it"
        else:
            where = f"Preempted on {label} at priority {deployment.priority}"
            code, why = "preempted", f"{where} {self._for_preemptor(cause)}"
        proved = cause is not None and self._is_minimal(home)
        return Eviction(
            deployment.id,
            *problem.bins[home].place,
            self._id(cause),
            proved,
            code,
            f"{why}.",
        )

    def _move(self, d: int, cause: int | None) -> Move:
        problem = self._problem
        home = problem.home[d]
        target = self._where[d]
        path = f"Moved from {self._label(home)} to {self._label(target)}"
        if cause is None:
            code, why = "drained", f"{self._label(home)} is draining"
        else:
            code, why = "preempted", f"preempted {self._for_preemptor(cause)}"
        return Move(
            problem.deployments[d].id,
            *problem.bins[home].place,
            *problem.bins[target].place,
            self._id(cause),
            code,
            f"{path}: {why}.",
        )

    def _wait_reason(self, deployment: Deployment) -> WaitReason:
        """Return why it waits. Deployments that wait for the same reason have it in common."""
        d = self._index.get(deployment.id)
        if d is None:
            d = self._problem.include(deployment)
        own = self._reserved.get(d)
        key: tuple[Any, ...] = (
            deployment.priority,
            self._problem.kinds[d],
            own,
            deployment.suspended_until if d in self._problem.suspended else None,
        )
        if self._outcome.reservations:
            key += (deployment.max_runtime_s, self._problem.threshold_once_started(d))
        reason = self._reasons.get(key)
        if reason is None:
            reason = Reason(self._supplies, d, own)
            self._reasons[key] = reason
        else:
            reason.is_shared = True
        return WaitReason(deployment.id, reason)
