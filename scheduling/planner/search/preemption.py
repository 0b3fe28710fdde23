"""Which of several equals on one cluster leave when not all can stay."""

from collections.abc import Callable, Iterable
from itertools import combinations
from math import comb

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Problem

_TRIALS = 600


def fewest_victims(
    problem: Problem,
    group: list[int],
    free: int,
    cost: Callable[[int], tuple[int, int]],
) -> frozenset[int]:
    """Return the fewest of the group whose leaving lets the rest fit into the room.

    Among sets of one size that of the least `cost` leaves, the sums compared. Exhaustive as long
    as the sets to try are few, else remove and put back. Minimal in any case: nobody in the set
    would fit beside those who stay. The answer is remembered, as many tries meet the same case.
    """
    requests = problem.requests
    left = free - sum([requests[d] for d in group])
    if not left & OVERDRAWN:
        return frozenset()
    costs = {d: cost(d) for d in group}
    case = (left, tuple(costs.items()))
    known = problem.known_victims.get(case)
    if known is None:
        known = problem.known_victims[case] = frozenset(_fewest(problem, costs, left))
    return known


def largest_victims(problem: Problem, group: list[int], free: int, sizes: list[int]) -> set[int]:
    """Return who leaves when the largest by `sizes` go until the rest fits into the room."""
    left = free - sum([problem.requests[d] for d in group])
    return _in_order(problem, sorted(group, key=lambda d: (-sizes[d], -d)), left)


def _fewest(problem: Problem, costs: dict[int, tuple[int, int]], left: int) -> Iterable[int]:
    requests = problem.requests
    group = sorted(costs, key=lambda d: (costs[d], -d))
    trials = 0
    for size in range(1, len(group)):
        trials += comb(len(group), size)
        if trials > _TRIALS:
            return _put_back(problem, group, left)
        best = min(
            (
                (sum(costs[d][0] for d in out), sum(costs[d][1] for d in out), out)
                for out in combinations(group, size)
                if not (left + sum([requests[d] for d in out])) & OVERDRAWN
            ),
            default=None,
        )
        if best:
            return best[2]
    return group


def _put_back(problem: Problem, group: list[int], left: int) -> set[int]:
    """Remove the cheapest until the rest fits, then put back whoever fits, the dearest first.

    Tried in two orders, by cost and by size; the smaller set wins.
    """
    return min(
        (
            _in_order(problem, group, left),
            _in_order(problem, sorted(group, key=lambda d: (-problem.shares[d], -d)), left),
        ),
        key=len,
    )


def _in_order(problem: Problem, group: list[int], left: int) -> set[int]:
    requests = problem.requests
    out = []
    for d in group:
        if not left & OVERDRAWN:
            break
        out.append(d)
        left += requests[d]
    gone = set(out)
    for d in reversed(out):
        if not (left - requests[d]) & OVERDRAWN:
            left -= requests[d]
            gone.remove(d)
    return gone
