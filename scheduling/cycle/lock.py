"""One cycle of an organization at a time, and nobody waits for it, or for anything it waits for."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import OperationalError, connection, transaction

from clusters.wakeups import RUN_CYCLE, clear_rerun, request_cycle, request_rerun, rerun_requested
from hypervisor.base.outages import is_lock_timeout

_LOCK_MS = 200
"""How long a cycle waits for each row that somebody else holds."""

_AGAIN_AFTER_S = 1.0
"""How long after it did not get one it is tried again."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


def in_turn(organization_id: int, work: Callable[[], T]) -> T | None:
    """Do the work, in a transaction, unless a cycle of the organization is under way.

    If one is, leave a note, try once more and return None: whoever runs the other cycle finds the
    note when that has ended, and asks for the next one. The note is left before the second try and
    read after the lock is given back, so one of the two sees it.

    Returns None as well when somebody else holds a row for too long; it is tried again in a while.
    """
    clear_rerun(RUN_CYCLE, organization_id)
    try:
        taken, done = _try(organization_id, work)
        if not taken:
            request_rerun(RUN_CYCLE, organization_id)
            taken, done = _try(organization_id, work)
    except OperationalError as error:
        if not is_lock_timeout(error):
            raise
        request_cycle(organization_id, delay_s=_AGAIN_AFTER_S)
        log.warning("cycle_locked_out", organization=organization_id)
        return None
    if taken and rerun_requested(RUN_CYCLE, organization_id):
        request_cycle(organization_id)
    return done


def _try(organization_id: int, work: Callable[[], T]) -> tuple[bool, T | None]:
    """Return whether it was our turn, and what the work has returned."""
    with transaction.atomic(durable=True):
        if not _take(organization_id):
            return False, None
        return True, work()


def _take(organization_id: int) -> bool:
    """Say whether the turn is ours until the end of this transaction; wait for nothing long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true),"
            " pg_try_advisory_xact_lock(hashtextextended('scheduling.cycle', %s))",
            [f"{_LOCK_MS}ms", organization_id],
        )
        return bool(cursor.fetchone()[1])
