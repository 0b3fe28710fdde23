"""Prove that no smaller harm on a cluster would be enough for the same preemptors."""

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem

_SETS = 1 << 16  # sets of victims to compare for one plan
_CANDIDATES = 13  # deployments on one cluster, beyond which no proof is tried

Harm = tuple[int, int, int]


class Prover:
    """Compares all sets of victims of a cluster, for as many clusters as `_SETS` allows."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._sets_left = _SETS

    def is_minimal(
        self, c: int, starting: list[int], staying: list[int], victims: list[int]
    ) -> bool:
        """Return whether it is proved that no other set of victims does less harm.

        All sets of deployments that each preemptor of `starting` may evict are compared: by the
        highest priority in the set, then its size, then the lost work. A deployment for which
        preemption is suspended takes precedence over preemptors of lower priorities, and counts for
        nothing beside others. False means not proved.
        """
        problem = self._problem
        priority = {s: problem.deployments[s].priority for s in starting}
        lowest = min(priority[s] for s in starting if s not in problem.suspended)
        starting = [s for s in starting if s not in problem.suspended or priority[s] > lowest]
        evictable = [d for d in (*victims, *staying) if problem.threshold[d] <= lowest]
        if len(evictable) > _CANDIDATES or 1 << len(evictable) > self._sets_left:
            return False
        if any(problem.threshold[d] > lowest for d in victims):
            return False
        self._sets_left -= 1 << len(evictable)
        free = problem.capacities[c] - sum(
            problem.requests[d] for d in (*starting, *staying, *victims)
        )
        bound = self._harm(victims)
        return not any(
            self._harm(others) < bound for others in self._sufficient(evictable, free, bound[1])
        )

    def _sufficient(self, evictable: list[int], free: int, size: int) -> list[list[int]]:
        """Return the sets of at most that size without which the other deployments fit."""
        sums = [free]
        for d in evictable:
            sums += [before + self._problem.requests[d] for before in sums]
        return [
            [d for i, d in enumerate(evictable) if members >> i & 1]
            for members, left in enumerate(sums)
            if not left & OVERDRAWN and members.bit_count() <= size
        ]

    def _harm(self, victims: list[int]) -> Harm:
        deployments, loss = self._problem.deployments, self._problem.loss
        worst = max((deployments[v].priority for v in victims), default=-1 << 62)
        return worst, len(victims), sum(loss[v] for v in victims)
