"""How long deployments probably run: what those of the same user did, corrected by what happens.

This is the predictor of Tsafrir, Etsion and Feitelson, *Backfilling Using System-Generated
Predictions Rather than User Runtime Estimates* (IEEE TPDS, 2007): the mean of the last two run
times of the user. If a deployment runs for longer, the prediction grows by fixed amounts until it
is in the future again.
"""

from collections.abc import Sequence
from statistics import fmean

LATEST = 2
"""How many run times of a user are averaged, the latest ones."""

_GROWTH = tuple(60 * minutes for minutes in (1, 5, 15, 30, 60, 120, 300, 600, 1200, 3000, 6000))
"""By how many seconds a prediction that has passed grows, each time; the last one is repeated."""


def predicted(latest: Sequence[int]) -> int | None:
    """Return the expected run time in seconds by the latest ones, the newest first."""
    return max(round(fmean(latest[:LATEST])), 1) if latest else None


def still_expected(prediction: int | None, limit: int | None, elapsed: int) -> int | None:
    """Return the run time in seconds that is expected of a deployment after `elapsed` of them.

    It is longer than that, and at most the limit, `max_runtime_s`, unless that has passed. Without
    a prediction it is the limit; None if there is neither.
    """
    if prediction is None:
        return at_most(limit, elapsed)
    growth = iter(_GROWTH)
    while prediction <= elapsed:
        prediction += next(growth, _GROWTH[-1])
    return prediction if limit is None else min(prediction, max(limit, elapsed + 1))


def at_most(limit: int | None, elapsed: int) -> int | None:
    """Return the run time in seconds by the limit alone; None without one."""
    return None if limit is None else max(limit, elapsed + 1)
