"""One process at a time speaks to a cluster's engine, and nobody waits for it to finish."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from clusters.wakeups import RECONCILE, clear_rerun, request_rerun, rerun_requested
from hypervisor.base.errors import Conflict

_MAX_TURNS = 20
"""Then the periodic look goes on, so that one cluster cannot keep a thread for itself."""

_PATIENCE_S, _POLL_S = 60, 0.1


def one_at_a_time(cluster_id: int, look: Callable[[], bool]) -> None:
    """Call `look`, again as long as others ask for it meanwhile and it returns true.

    Who finds somebody else at it leaves a note and goes: a worker must not wait behind an engine
    that hangs. The note is left before the second try and read after the lock is given back, so one
    of the two sees it.
    """
    noted = answered = False
    for _ in range(_MAX_TURNS):
        with _exclusive(cluster_id) as mine:
            if mine:
                clear_rerun(RECONCILE, cluster_id)
                answered = look()
        if mine:
            if not (answered and rerun_requested(RECONCILE, cluster_id)):
                return
        elif noted:
            return
        else:
            request_rerun(RECONCILE, cluster_id)
            noted = True


@contextmanager
def alone(cluster_id: int) -> Iterator[None]:
    """Speak to a cluster's engine alone until the end of this block, for an operator who waits.

    Raises Conflict when the worker has not finished its look within a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with _exclusive(cluster_id) as mine:
            if mine:
                yield
                return
        if time.monotonic() > deadline:
            raise Conflict("A worker is still looking at this engine: try again.")
        time.sleep(_POLL_S)


@contextmanager
def _exclusive(cluster_id: int) -> Iterator[bool]:
    """Yield whether the engine is ours until the end of this block."""
    # A session's lock, not a transaction's: the engine is never called inside a transaction.
    key = "hashtextextended('deployments.reconcile', %s)"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({key})", [cluster_id])
        (mine,) = cursor.fetchone()
        try:
            yield mine
        finally:
            if mine:
                cursor.execute(f"SELECT pg_advisory_unlock({key})", [cluster_id])
