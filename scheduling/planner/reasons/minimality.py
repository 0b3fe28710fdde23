"""Prove that no smaller harm on a cluster makes room for the same preemptors."""

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem

_SETS = 1 << 16
_MOST = 13  # candidates on one cluster

Harm = tuple[int, int, int]


class Prover:
    """Compares whole sets of victims, all of them, for as many clusters as its effort allows."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._left = _SETS

    def is_minimal(self, c: int, starters: list[int], stayers: list[int], gone: list[int]) -> bool:
        """Say whether it is proved that no other set of those that all starters may evict does
        less harm: the highest priority among them, their number, the work lost. False: not proved.
        """
        problem = self._problem
        lowest = min(problem.deployments[s].priority for s in starters)
        evictable = [d for d in (*gone, *stayers) if problem.threshold[d] <= lowest]
        if len(evictable) > _MOST or 1 << len(evictable) > self._left:
            return False
        if any(problem.threshold[d] > lowest for d in gone):
            return False
        self._left -= 1 << len(evictable)
        free = problem.capacities[c] - sum(
            problem.requests[d] for d in (*starters, *stayers, *gone)
        )
        bound = self._harm(gone)
        return not any(
            self._harm(victims) < bound for victims in self._sufficient(evictable, free, bound[1])
        )

    def _sufficient(self, evictable: list[int], free: int, size: int) -> list[list[int]]:
        """Return the sets of at most that size whose leaving makes the rest fit."""
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
