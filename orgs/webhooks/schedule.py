"""When a message that was not delivered is sent again.

The delays are those that Standard Webhooks recommends, with jitter, so that what failed together
does not come back together.
"""

from datetime import datetime, timedelta
from random import uniform

_MINUTE, _HOUR = 60, 3600
RETRIES_S = (
    5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR,
    24 * _HOUR,
)  # fmt: skip
"""The delay before each further attempt, about three days in all."""

_JITTER = 0.1
_LONGEST_PAUSE_S = 300
_LONGEST_RETRY_AFTER_S = 24 * _HOUR
_LONGEST_REQUESTED_PAUSE_S = _HOUR


def next_attempt(attempts: int, now: datetime, retry_after_s: int | None) -> datetime | None:
    """Return when a message is sent again after this many attempts, None after the last one.

    A receiver may ask for a longer delay, up to a day.
    """
    if attempts > len(RETRIES_S):
        return None
    requested = min(retry_after_s or 0, _LONGEST_RETRY_AFTER_S)
    return now + _jittered(max(RETRIES_S[attempts - 1], requested))


def pause(failures: int, now: datetime, retry_after_s: int | None) -> datetime:
    """Return until when nothing is sent to a webhook after so many failures in succession.

    It doubles from one second to five minutes. A receiver may ask for up to an hour.
    """
    own = min(2 ** min(failures - 1, 10), _LONGEST_PAUSE_S)
    requested = min(retry_after_s or 0, _LONGEST_REQUESTED_PAUSE_S)
    return now + _jittered(max(own, requested))


def _jittered(seconds: float) -> timedelta:
    return timedelta(seconds=uniform(seconds, seconds * (1 + _JITTER)))  # noqa: S311 no secret
