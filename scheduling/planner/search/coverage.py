"""Measure how close a waiting deployment is to fitting."""

from collections.abc import Iterable, Sequence

from scheduling.planner.packed import LARGEST, OVERDRAWN, pack, unpack
from scheduling.planner.problem import Problem
from scheduling.planner.resources import Resources
from scheduling.planner.search.skyline import Largest

_WHOLE = 1000
_AT_ONCE = 8  # deployments to look at before those that cannot be closer are left out


def coverage(request: Resources, free: Resources) -> int:
    """Return the share of the request that is free in every dimension, in thousandths."""
    share = _WHOLE
    if request.cpu_milli:
        share = min(share, free.cpu_milli * _WHOLE // request.cpu_milli)
    if request.ram_mib:
        share = min(share, free.ram_mib * _WHOLE // request.ram_mib)
    if request.gpu:
        share = min(share, free.gpu * _WHOLE // request.gpu)
    return share


def closest(problem: Problem, waiting: Iterable[int], free: Sequence[int]) -> int:
    """Return the largest coverage of one of the waiting deployments on one of its eligible nodes.

    `free` is packed, by node.
    """
    best = 0
    by_nodes: dict[int, list[int]] = {}
    for d in waiting:
        by_nodes.setdefault(id(problem.eligible[d]), []).append(d)
    for members in by_nodes.values():
        for amount in Largest(free[c] for c in problem.eligible[members[0]]):
            best = _closest(problem, members, amount, best)
    return best


def _closest(problem: Problem, members: list[int], amount: int, best: int) -> int:
    """Return the largest coverage of a member by the amount if it is above `best`, else `best`."""
    free = unpack(amount)
    closer = _closer(problem, members, free, best)
    while closer:
        some = [problem.deployments[d].request for d in closer[:_AT_ONCE]]
        best = max([coverage(request, free) for request in some])
        closer = _closer(problem, closer[_AT_ONCE:], free, best)
    return best


def _closer(problem: Problem, members: list[int], free: Resources, best: int) -> list[int]:
    """Return the members with a larger coverage than `best`.

    These request at most 1000 times what is free, divided by `best` + 1.
    """
    if best >= _WHOLE:
        return []
    amounts = (free.cpu_milli, free.ram_mib, free.gpu)
    limit = pack(Resources(*[min(a * _WHOLE // (best + 1), LARGEST) for a in amounts]))
    requests = problem.requests
    return [d for d in members if not (limit - requests[d]) & OVERDRAWN]
