"""Thresholds of each dimension, by which sets of bits distinguish amounts."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

from scheduling.planner.packed import OVERDRAWN, dimensions

_THRESHOLDS = 48  # of each dimension
_SAMPLE = 4_096  # requests from which the thresholds are taken

Steps = tuple[int, int, int]


class Scale:
    """Amounts of some of the requests, packed, evenly distributed among these; the lowest is 0.

    The step of an amount is the number of thresholds of its dimension that it reaches. `known` are
    the steps of requests.
    """

    def __init__(self, requests: Sequence[int]) -> None:
        self._requests = requests
        self.known: dict[int, Steps] = {}

    @cached_property
    def thresholds(self) -> list[list[int]]:
        """The thresholds of each dimension, in ascending order."""
        sample = self._requests[:: len(self._requests) // _SAMPLE + 1]
        amounts = map(set, zip((0, 0, 0), *map(dimensions, sample), strict=True))
        return [_evenly(sorted(each)) for each in amounts]

    def steps(self, request: int) -> Steps:
        """Return the step of each dimension of a request, and keep it in `known`."""
        steps = self.known[request] = self._steps(request)
        return steps

    def reached(self, amount: int) -> Steps:
        """Return the same for what a node has; 0 in each if one dimension is negative."""
        return (0, 0, 0) if amount & OVERDRAWN else self._steps(amount)

    def _steps(self, amount: int) -> Steps:
        cpu, ram, gpu = dimensions(amount)
        cpus, rams, gpus = self.thresholds
        return bisect_right(cpus, cpu), bisect_right(rams, ram), bisect_right(gpus, gpu)


def _evenly(amounts: list[int]) -> list[int]:
    """Return at most `_THRESHOLDS` of the amounts, with the first."""
    return amounts[:: -(-len(amounts) // _THRESHOLDS)]
