"""Run one cycle of an organization at a time, without waiting for another cycle or a locked row."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import OperationalError, connection, transaction

from clusters.wakeups import RUN_CYCLE, clear_rerun, request_cycle, request_rerun, rerun_requested
from hypervisor.base.outages import is_lock_timeout
from scheduling.cycle.lanes import locked_out

_LOCK_MS = 200
"""How long a cycle waits for each row that another transaction has locked."""

_RETRY_AFTER_S = 1.0
"""How long after a lock timeout the next cycle is requested."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


def in_turn(organization_id: int, work: Callable[[], T]) -> T | None:
    """Do the work in a transaction, unless a cycle of the organization is running.

    If one is running, request a rerun and try once more; if it is still running, return None. The
    worker that runs the other cycle reads the request after it has released the lock, and requests
    the next cycle. The request is written before the second try, so either that try gets the lock,
    or the other worker reads the request.

    Also return None when another transaction keeps a row locked for too long; a cycle is requested
    for a little later.
    """
    clear_rerun(RUN_CYCLE, organization_id)
    try:
        acquired, result = _try(organization_id, work)
        if not acquired:
            request_rerun(RUN_CYCLE, organization_id)
            acquired, result = _try(organization_id, work)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        locked_out(organization_id)
        request_cycle(organization_id, delay_s=_RETRY_AFTER_S)
        log.warning("cycle_locked_out", organization=organization_id)
        return None
    if acquired and rerun_requested(RUN_CYCLE, organization_id):
        request_cycle(organization_id)
    return result


def leave_to_running(organization_id: int) -> bool:
    """Return whether a cycle of the organization is running, which will request another.

    This takes no lock, because even a short one could turn another cycle away.
    """
    if not _is_running(organization_id):
        return False
    request_rerun(RUN_CYCLE, organization_id)
    return _is_running(organization_id)


def _is_running(organization_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks, hashtextextended('scheduling.cycle', %s) AS key"
            " WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::bigint = key >> 32 & 4294967295"
            " AND objid::bigint = key & 4294967295)",
            [organization_id],
        )
        return bool(cursor.fetchone()[0])


def _try(organization_id: int, work: Callable[[], T]) -> tuple[bool, T | None]:
    """Return whether the lock was free, and the result of the work."""
    with transaction.atomic(durable=True):
        if not _acquire(organization_id):
            return False, None
        return True, work()


def _acquire(organization_id: int) -> bool:
    """Try to take the organization's lock until the transaction ends, and set its lock timeout.

    Return whether the lock was free.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true),"
            " pg_try_advisory_xact_lock(hashtextextended('scheduling.cycle', %s))",
            [f"{_LOCK_MS}ms", organization_id],
        )
        return bool(cursor.fetchone()[1])
