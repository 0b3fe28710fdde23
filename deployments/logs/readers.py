"""A log is read from its engine in a thread for requests: an engine that hangs gets only a few."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from hypervisor.base.errors import Busy

PLACES, ORGANIZATIONS_SHARE = 4, 2
"""In each process: half of a web process's threads, and half of these for one organization."""

PATIENCE_S = 0.5
"""Most logs are read faster, so that another one may wait for the place."""

_RETRY_S = 2

_changed = Condition()
_reading: Counter[int] = Counter()


@contextmanager
def place(organization: int) -> Iterator[None]:
    """Hold one of the places to read from an engine. Raises Busy when none becomes free soon."""
    with _changed:
        if not _changed.wait_for(lambda: _is_free(organization), PATIENCE_S):
            raise Busy(
                "Other logs are being read, or wait for an engine that does not answer."
                f" Try again in {_RETRY_S} seconds.",
                retry_after_s=_RETRY_S,
            )
        _reading[organization] += 1
    try:
        yield
    finally:
        with _changed:
            _reading[organization] -= 1
            if not _reading[organization]:
                del _reading[organization]
            _changed.notify_all()


def _is_free(organization: int) -> bool:
    return _reading.total() < PLACES and _reading[organization] < ORGANIZATIONS_SHARE
