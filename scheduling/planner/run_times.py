"""How long deployments probably run, by what others of the same user did.

The expected run time is the median of those past run times that are longer than the deployment has
already run, as in Downey, *Predicting Queue Times on Space-Sharing Parallel Computers* (IPPS 1997).
The past ones are the latest of the user: recent ones of the same user say more than similar ones
(Tsafrir, Etsion and Feitelson, *Backfilling Using System-Generated Predictions Rather than User
Runtime Estimates*, 2007).
"""

from bisect import bisect_right
from collections.abc import Iterable

LATEST = 20
"""How many of a user's run times count, the latest ones."""


class PastRunTimes:
    """The latest run times of a user, in seconds; there may be none."""

    def __init__(self, latest: Iterable[int] = ()) -> None:
        self._ascending = sorted(latest)

    def expected(self, limit: int | None, elapsed: int) -> int | None:
        """Return the run time, in seconds, that is expected after `elapsed` of them.

        It is longer than that. If it has run for longer than all others, it is expected to run for
        as long again. The limit is its `max_runtime_s`, which is returned if there are no others;
        None if there is neither.
        """
        longest = at_most(limit, elapsed)
        known = self._ascending
        if not known:
            return longest
        first = bisect_right(known, elapsed)
        expected = known[(first + len(known)) // 2] if first < len(known) else 2 * elapsed
        expected = max(expected, elapsed + 1)
        return expected if longest is None else min(expected, longest)


def at_most(limit: int | None, elapsed: int) -> int | None:
    """Return the run time, in seconds, by the limit alone; None without one.

    A deployment that has reached its limit ends at any moment.
    """
    return None if limit is None else max(limit, elapsed + 1)
