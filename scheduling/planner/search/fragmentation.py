"""Among equal outcomes, keep free GPUs usable for what people request.

The fragmentation of a node is the expected number of its free GPUs that the next request cannot use
because it does not fit there, or may not run there (Weng et al., *Beware of Fragmentation*, USENIX
ATC '23). The expected requests are those of the snapshot. Unlike in the paper, each counts by the
GPUs that it requests: the next GPU that is requested counts, not the next deployment, so that a few
large requests keep large blocks free.
"""

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest

from scheduling.planner.packed import OVERDRAWN, gpus, pack
from scheduling.planner.problem import Problem
from scheduling.planner.snapshot import Deployment

_REQUESTS = 16  # kinds of requests that count, those with the most GPUs in total


class Fragmentation:
    """The fragmentation of nodes, as integers that are comparable within one snapshot."""

    def __init__(self, problem: Problem) -> None:
        expected = _expected(problem)
        self._expected = [(pack(d.request), weight) for d, weight in expected]
        self._total = sum([weight for _, weight in expected])
        self._admitting = _admitting(problem, [d for d, _ in expected])
        self._known: dict[tuple[int, int], int] = {}

    def growth(self, c: int, free: int, request: int) -> int:
        """Return by how much the fragmentation of the node grows if the request is placed there.

        `free` is what is free before, packed.
        """
        return self._of(c, free - request) - self._of(c, free)

    def alike(self, nodes: Iterable[int]) -> list[list[int]]:
        """Return the nodes in groups, on each of which the same expected requests may run."""
        groups: dict[int, list[int]] = {}
        for c in nodes:
            groups.setdefault(self._admitting[c], []).append(c)
        return list(groups.values())

    def _of(self, c: int, free: int) -> int:
        case = free, self._admitting[c]
        known = self._known.get(case)
        if known is None:
            number = gpus(free)
            known = self._known[case] = number * self._unusable(*case) if number else 0
        return known

    def _unusable(self, free: int, admitting: int) -> int:
        """Return how many of the requested GPUs are requested by deployments that do not fit."""
        unusable = self._total
        for request, weight in self._expected:
            if admitting & 1 and not (free - request) & OVERDRAWN:
                unusable -= weight
            admitting >>= 1
        return unusable


def _expected(problem: Problem) -> list[tuple[Deployment, int]]:
    """Return a deployment of each kind that counts, and the GPUs that its kind requests."""
    if problem.backlog:
        return problem.backlog.heaviest(_REQUESTS)
    deployments, kinds = problem.deployments, problem.kinds
    one = dict(zip(kinds, range(len(kinds)), strict=True))
    weights = [
        (one[kind], number * deployments[one[kind]].request.gpu)
        for kind, number in Counter(kinds).items()
    ]
    heaviest = nsmallest(_REQUESTS, weights, key=lambda item: (-item[1], item[0]))
    return [(deployments[at], weight) for at, weight in heaviest if weight]


def _admitting(problem: Problem, expected: list[Deployment]) -> list[int]:
    """Return for each node a bit for each of the expected that may run there."""
    admitting = [0] * len(problem.bins)
    for k, deployment in enumerate(expected):
        for c in problem.eligibility.admit(deployment):
            admitting[c] |= 1 << k
    return admitting
