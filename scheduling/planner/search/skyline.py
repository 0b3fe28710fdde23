"""Decide for many requests at once whether they fit, from a few amounts or requests.

Of amounts, only those count that are not below another one in every dimension, and of requests that
do not fit, only those that are not as large as another one (the skyline of Börzsönyi et al., *The
Skyline Operator*, ICDE '01).
"""

from collections.abc import Iterable, Iterator, Sequence

from scheduling.planner.packed import OVERDRAWN, most


class Largest:
    """The largest of some amounts, packed. Those that are negative in a dimension do not count."""

    def __init__(self, amounts: Iterable[int]) -> None:
        self._largest: list[int] = []
        for amount in sorted({each for each in amounts if not each & OVERDRAWN}, reverse=True):
            if all((other - amount) & OVERDRAWN for other in self._largest):
                self._largest.append(amount)

    def __iter__(self) -> Iterator[int]:
        return iter(self._largest)

    def fits(self, request: int) -> bool:
        """Return whether the request fits into one of the amounts."""
        for amount in self._largest:  # noqa: SIM110 - a generator takes twice as long
            if not (amount - request) & OVERDRAWN:
                return True
        return False

    def fitting(self, members: Iterable[int], requests: Sequence[int]) -> list[int]:
        """Return the members whose request fits into one of the amounts, in their order."""
        ceiling = most(self._largest)
        some = [d for d in members if not (ceiling - requests[d]) & OVERDRAWN]
        return some if len(self._largest) == 1 else [d for d in some if self.fits(requests[d])]


class Failures:
    """The smallest requests that fit on no node, of deployments that may use the same capacity.

    A request that is at least as large in every dimension as one of them does not fit either, as
    long as free capacity only shrinks. The last that decided is tried first.
    """

    def __init__(self) -> None:
        self._smallest: list[int] = []

    def decide(self, request: int) -> bool:
        """Return whether it follows from what has failed that the request does not fit."""
        smallest = self._smallest
        for at, failed in enumerate(smallest):
            if not (request - failed) & OVERDRAWN:
                if at:
                    smallest.insert(0, smallest.pop(at))
                return True
        return False

    def add(self, request: int) -> None:
        others = [failed for failed in self._smallest if (failed - request) & OVERDRAWN]
        self._smallest = [request, *others]
