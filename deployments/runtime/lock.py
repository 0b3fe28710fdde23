"""The lock of a cluster's engine: one process at a time calls it, and no worker waits for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from clusters.wakeups import RECONCILE, clear_rerun, request_rerun, rerun_requested
from hypervisor.base.errors import Conflict

_MAX_TURNS = 20
"""After this, the next periodic reconciliation continues: no cluster may occupy a thread."""

_PATIENCE_S, _POLL_S = 60, 0.1


def one_at_a_time(cluster_id: int, work: Callable[[], bool]) -> None:
    """Call `work` under the engine's lock; call it again while it is requested and returns true.

    If the lock is taken, set a flag and return, because a worker must not wait behind an engine
    that hangs. The flag is set before the second attempt to lock, and the lock's holder reads it
    after releasing the lock, so a request cannot be lost between the two.
    """
    flagged = answered = False
    for _ in range(_MAX_TURNS):
        with _exclusive(cluster_id) as acquired:
            if acquired:
                clear_rerun(RECONCILE, cluster_id)
                answered = work()
        if acquired:
            if not (answered and rerun_requested(RECONCILE, cluster_id)):
                return
        elif flagged:
            return
        else:
            request_rerun(RECONCILE, cluster_id)
            flagged = True


@contextmanager
def exclusive_access(cluster_id: int) -> Iterator[None]:
    """Hold the engine's lock until the end of this block, after waiting for it.

    Raises Conflict if the lock has not become free within a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with _exclusive(cluster_id) as acquired:
            if acquired:
                yield
                return
        if time.monotonic() > deadline:
            raise Conflict("A worker is still using this engine: try again in a minute.")
        time.sleep(_POLL_S)


@contextmanager
def _exclusive(cluster_id: int) -> Iterator[bool]:
    """Try to lock the engine until the end of this block; yield whether it worked."""
    # The session holds the lock, because an engine is never called inside a transaction.
    key = "hashtextextended('deployments.reconcile', %s)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({key})", [cluster_id])
        (acquired,) = cursor.fetchone()
        try:
            yield acquired
        finally:
            if acquired:
                cursor.execute(f"SELECT pg_advisory_unlock({key})", [cluster_id])
