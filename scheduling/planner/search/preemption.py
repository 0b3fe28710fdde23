"""Choose which deployments of one priority lose their place on a node too small for all."""

from collections.abc import Callable, Iterable
from itertools import accumulate, combinations
from math import comb

from scheduling.planner.packed import OVERDRAWN, dimensions, pack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import Resources

_TRIALS = 600  # sets of victims to examine


def fewest_victims(
    problem: Problem,
    group: list[int],
    free: int,
    cost: Callable[[int], tuple[int, int]],
) -> frozenset[int]:
    """Return the smallest set of victims in the group that lets the others fit into `free`.

    Among sets of one size, the set with the least sum of `cost` is returned. The search is
    exhaustive up to `_TRIALS` sets, otherwise greedy; in both cases no victim would fit next to
    the deployments that stay. Results are cached because many attempts meet the same case.
    """
    requests = problem.requests
    left = free - sum([requests[d] for d in group])
    if not left & OVERDRAWN:
        return frozenset()
    costs = {d: cost(d) for d in group}
    case = (left, tuple(costs.items()))
    known = problem.victims_cache.get(case)
    if known is None:
        known = problem.victims_cache[case] = frozenset(_fewest(problem, costs, left))
    return known


def largest_victims(problem: Problem, group: list[int], free: int, sizes: list[int]) -> set[int]:
    """Return the victims when the largest by `sizes` are evicted until the others fit."""
    left = free - sum([problem.requests[d] for d in group])
    by_size = sorted(group, key=lambda d: (-sizes[d], -d))
    return set(remove_and_restore(problem.requests, by_size, left))


def _fewest(problem: Problem, costs: dict[int, tuple[int, int]], left: int) -> Iterable[int]:
    group = sorted(costs, key=lambda d: (costs[d], -d))
    requests = [problem.requests[d] for d in group]
    largest, trials = _largest_sums(requests), 0
    for size in range(1, len(group)):
        trials += comb(len(group), size)
        if trials > _TRIALS:
            return _greedy(problem, group, left)
        if (left + largest[size - 1]) & OVERDRAWN:
            continue
        sets = zip(combinations(group, size), combinations(requests, size), strict=True)
        best = min(
            [
                (sum([costs[d][0] for d in some]), sum([costs[d][1] for d in some]), some)
                for some, amounts in sets
                if not (left + sum(amounts)) & OVERDRAWN
            ],
            default=None,
        )
        if best:
            return best[2]
    return group


def _largest_sums(requests: list[int]) -> list[int]:
    """Return the most of each dimension that one, two and so on of the requests have in sum."""
    by_dimension = zip(*map(dimensions, requests), strict=True)
    largest = [accumulate(sorted(amounts, reverse=True)) for amounts in by_dimension]
    return [pack(Resources(*sums)) for sums in zip(*largest, strict=True)]


def _greedy(problem: Problem, group: list[int], left: int) -> list[int]:
    """Remove by cost and by size, restore what fits, and return the smaller result."""
    by_size = sorted(group, key=lambda d: (-problem.shares[d], -d))
    return min(
        (remove_and_restore(problem.requests, order, left) for order in (group, by_size)), key=len
    )


def remove_and_restore(requests: list[int], candidates: Iterable[int], left: int) -> list[int]:
    """Return the victims among the candidates so that `left`, packed, is not overdrawn.

    Candidates are removed in their order until everything else fits, then restored in the reverse
    order if they still fit. No more candidates than necessary are read.
    """
    removed = []
    for d in candidates:
        if not left & OVERDRAWN:
            break
        removed.append(d)
        left += requests[d]
    restored = set()
    for d in reversed(removed):
        if not (left - requests[d]) & OVERDRAWN:
            left -= requests[d]
            restored.add(d)
    return [d for d in removed if d not in restored] if restored else removed
