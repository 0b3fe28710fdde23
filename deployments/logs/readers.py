"""A limit on the threads that read logs, so that an engine that hangs cannot occupy them all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from hypervisor.base.errors import Busy

PLACES, ORGANIZATIONS_SHARE = 4, 2
"""Places in each process: half of a web process's threads; half of them for one organization."""

PATIENCE_S = 0.5
"""How long to wait for a place: most logs are read faster."""

_RETRY_S = 2

_changed = Condition()
_reading: Counter[int] = Counter()


@contextmanager
def place(organization: int) -> Iterator[None]:
    """Occupy a place while reading from an engine. Raises Busy if none becomes free soon."""
    with _changed:
        if not _changed.wait_for(lambda: _is_free(organization), PATIENCE_S):
            raise Busy(
                "Too many logs are being read, perhaps from an engine that does not answer."
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
