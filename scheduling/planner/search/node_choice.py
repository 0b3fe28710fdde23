"""Choose, among equal outcomes, nodes that leave less fragmentation.

A deployment that starts may change its node if that changes nothing for any other: no deployment
loses its place on either node, no capacity is reserved there, and none that waits would fit on
either node next to those that stay there and those that higher levels start.
"""

from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from itertools import islice

from scheduling.planner.outcome import Outcome
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NOWHERE, Problem
from scheduling.planner.search.fragmentation import Fragmentation
from scheduling.planner.search.index import Index

_WORK = 2_000  # nodes to compare in one plan
_DIFFERENT = 16  # nodes with different free amounts to compare for one deployment
_WAITING = 16  # kinds of waiting deployments that are examined in the time of a comparison


class NodeChoice:
    """Finds the node on which a request leaves the least fragmentation, of those that it fits.

    `free` is packed, by node. `work` counts the nodes that have been compared.
    """

    def __init__(self, problem: Problem, free: list[int]) -> None:
        self._problem = problem
        self._indexes: dict[int, list[Index]] = {}
        self._free = free
        self.work = 0

    @cached_property
    def _fragmentation(self) -> Fragmentation:
        return Fragmentation(self._problem)

    def best(self, d: int, closed: Collection[int] = ()) -> int | None:
        """Return the node for d, which is not among the closed ones; None if it fits on no other.

        Of equal nodes it is the fullest. Of nodes with the same free amounts, one is compared.
        """
        request, fragmentation = self._problem.requests[d], self._fragmentation
        ranked = []
        for index in self._admitted(d):
            fits = (c for c in index.first_fits(request) if c not in closed)
            for c in islice(fits, _DIFFERENT):
                free = self._free[c]
                ranked.append((fragmentation.growth(c, free, request), free, c))
        self.work += len(ranked)
        return min(ranked)[-1] if ranked else None

    def change(self, c: int, amount: int) -> None:
        """Change what is free on the node by this amount, packed."""
        self._free[c] += amount
        for indexes in self._indexes.values():
            for index in indexes:
                index.update((c,))

    def _admitted(self, d: int) -> list[Index]:
        """Return the open nodes that admit d; those of an index are alike in what they admit."""
        admitted = self._problem.admitted[d]
        known = self._indexes.get(id(admitted))
        if known is None:
            nodes = [c for c in admitted if self._problem.open[c]]
            groups = self._fragmentation.alike(nodes)
            free = self._free
            known = [Index(group, lambda c: (free[c], free[c])) for group in groups]
            self._indexes[id(admitted)] = known
        return known


def reduce_fragmentation(problem: Problem, outcome: Outcome) -> None:
    """Change the nodes of deployments that start, the largest first, as far as the work allows."""
    requests, where = problem.requests, outcome.where
    starting = [d for d in where if _may_change(problem, d)]
    closed = _closed(problem, outcome) if starting else set()
    if len(problem.bins) < 2 or all(where[d] in closed for d in starting):
        return
    outcome.free_at = {priority: free.copy() for priority, free in outcome.free_at.items()}
    choice = NodeChoice(problem, outcome.free_at[problem.levels[-1].priority].copy())
    waiting = _waiting(problem, outcome)
    examined = (len(waiting) + _left_out(problem, waiting)) // _WAITING
    started: dict[int, set[int]] = defaultdict(set)
    for d, c in where.items():
        if problem.home[d] != c:
            started[c].add(d)
    for d in sorted(starting, key=lambda d: (-problem.shares[d], d)):
        c = where[d]
        if choice.work >= _WORK:
            return
        choice.work += examined
        wanting = [(level, w) for level, w in waiting if level <= problem.deployments[d].priority]
        if c in closed or _is_wanted(problem, outcome, c, started[c], wanting):
            continue
        choice.change(c, requests[d])
        best = choice.best(d, closed)
        if best is not None and not _is_wanted(problem, outcome, best, started[best], wanting):
            where[d] = best
            started[c].remove(d)
            started[best].add(d)
        choice.change(where[d], -requests[d])
        for priority, free in outcome.free_at.items():
            if priority <= problem.deployments[d].priority:
                free[c] += requests[d]
                free[where[d]] -= requests[d]


def _may_change(problem: Problem, d: int) -> bool:
    """Return whether d was ready, without a preference of its own, and may evict others."""
    preferring = bool(problem.deployments[d].prefer)
    return problem.home[d] == NOWHERE and not preferring and d not in problem.suspended


def _closed(problem: Problem, outcome: Outcome) -> set[int]:
    """Return the nodes on which capacity is reserved or a deployment loses its place."""
    left = {c for d, c in enumerate(problem.home) if c != NOWHERE and outcome.where.get(d) != c}
    return left | outcome.reservations.keys()


def _waiting(problem: Problem, outcome: Outcome) -> list[tuple[int, int]]:
    """Return the priority and one deployment of each priority and kind that is not active."""
    kinds, active = problem.kinds, outcome.where.keys()
    return [
        (level.priority, d)
        for level in problem.levels
        for d in {kinds[d]: d for d in level.members - active}.values()
    ]


def _left_out(problem: Problem, waiting: list[tuple[int, int]]) -> int:
    """Return the number of kinds that only deployments have that were left out. None of these would
    fit where a planned one does not.
    """
    if problem.backlog is None:
        return 0
    planned = problem.deployments[: problem.planned]
    return problem.backlog.distinct_left_out(planned, [problem.deployments[d] for _, d in waiting])


def _is_wanted(
    problem: Problem, outcome: Outcome, c: int, started: set[int], waiting: list[tuple[int, int]]
) -> bool:
    """Return whether one of the waiting would fit on c if none of its level or above started there.

    Some that start there may come after it: by the order, or with preemption suspended.
    """
    here = [w for w in waiting if c in problem.eligible[w[1]]]
    if not here:
        return False
    free: dict[int, int] = {}
    for level, _ in here:
        gone = [problem.requests[d] for d in started if problem.deployments[d].priority >= level]
        free[level] = outcome.free_at[level][c] + sum(gone)
    return any(not (free[level] - problem.requests[w]) & OVERDRAWN for level, w in here)
