"""Which workers run an organization's cycles, so that no organization waits for another's.

The workers of the default queue run short cycles. They hand the cycles of an organization over to
the workers of the queue `background` for some time after one took long, or after several failed or
found rows locked. So an organization occupies one worker of the default queue, for a limited time
and only once.
"""

from datetime import timedelta

import structlog
from celery import current_app
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from clusters.wakeups import RUN_CYCLE, rerun_requested
from clusters.wakeups import is_requested as wakeup_requested
from scheduling.models import BackgroundCycles
from scheduling.monitoring import heartbeats

RUN_LONG_CYCLE = "scheduling.run_long_cycle"
BACKGROUND = heartbeats.BACKGROUND

LONG_CPU_S = 0.25
"""A cycle that computes at least this long is long, on a busy machine as on an idle one."""

LONG_S = 2.0
"""A cycle that takes at least this long is long as well: it waits, or its statements are slow."""

SHORT_LIMIT_S = 5
"""A worker of the default queue is killed when a cycle takes longer; the cycle begins again in the
background."""

LONG_LIMIT_S = 300
"""A cycle in the background that takes longer is killed, and counts as failed."""

_STAYS_FACTOR = 60
"""After a cycle that computed for long, an organization's cycles stay in the background for this
many times as long, so that they occupy a worker of the default queue for a 60th of the time."""

_SHORTEST_STAY, _LONGEST_STAY = timedelta(minutes=1), timedelta(minutes=10)
"""The shortest stay also follows a cycle that took long otherwise, and several that failed."""

_PAUSE_FACTOR = 4
"""After a failure, the next cycle begins at the earliest after this many times its duration, so
that an organization whose cycles fail has a worker for at most a fifth of the time."""

_MERGE_S = 60
"""How long a message waits for a worker of the background before it expires."""

FAILURES = 3
"""So many failures in a row, if they are short, move an organization's cycles to the background."""

LOCKED = "its rows were locked"

log = structlog.get_logger(__name__)


def hand_over(organization_id: int, trigger: str) -> bool:
    """Return whether the organization's cycles belong to the background; if so, request one there.

    None is requested while the organization pauses after a failure: a periodic cycle follows.
    """
    rows = BackgroundCycles.objects.filter(pk=organization_id, until__gt=Now())
    pauses = Q(retry_at__isnull=False, retry_at__gt=Now())
    found = rows.annotate(pauses=pauses).values_list("pauses", flat=True).first()
    if found is None:
        return False
    if not found:
        request_long(organization_id, trigger)
    return True


def request_long(organization_id: int, trigger: str) -> None:
    """Request a cycle with the limit of the background, unless one is requested.

    Without a worker of the queue `background`, those of the default queue run it.
    """
    try:
        if cache.add(_key(organization_id), 1, timeout=_MERGE_S):
            queue = BACKGROUND if heartbeats.is_working(BACKGROUND) else None
            current_app.send_task(
                RUN_LONG_CYCLE, args=[organization_id, trigger], queue=queue, expires=_MERGE_S
            )
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("long_cycle_not_requested", organization=organization_id, error=str(error))


def is_requested(organization_id: int) -> bool:
    """Return whether a cycle of the organization is requested and has not begun."""
    try:
        if cache.get(_key(organization_id)):
            return True
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_record_lost", error=str(error))
    return any(asked(RUN_CYCLE, organization_id) for asked in (wakeup_requested, rerun_requested))


def begin(organization_id: int) -> None:
    """Record that a cycle begins, so that later changes need a request of their own."""
    try:
        cache.delete(_key(organization_id))
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_record_lost", error=str(error))


def succeeded(organization_id: int, seconds: float, cpu_s: float) -> None:
    """Record the duration of a cycle if it was long, and that the organization's cycles work."""
    if cpu_s >= LONG_CPU_S or seconds >= LONG_S:
        _write(
            organization_id, _stay(cpu_s),
            seconds=seconds, failures=0, failing_since=None, retry_at=None,
        )  # fmt: skip
    else:
        rows = BackgroundCycles.objects.filter(pk=organization_id).exclude(failures=0)
        rows.update(failures=0, failing_since=None, retry_at=None)


def _stay(cpu_s: float) -> timedelta:
    wanted = timedelta(seconds=_STAYS_FACTOR * cpu_s)
    return min(max(wanted, _SHORTEST_STAY), _LONGEST_STAY)


def failed(organization_id: int, seconds: float, error: str) -> None:
    """Record that a cycle failed after `seconds`. In the background, the next one begins later."""
    pause = timedelta(seconds=_PAUSE_FACTOR * seconds)
    _write_failure(organization_id, seconds, error, pause)


def locked_out(organization_id: int) -> None:
    """Record that a cycle found rows locked. The next may follow at once."""
    _write_failure(organization_id, 0, LOCKED, timedelta(0))


def killed(organization_id: int, trigger: str, limit_s: float) -> None:
    """Record that a cycle was killed because it took longer than its worker allows."""
    log.error("cycle_killed", organization=organization_id, seconds=limit_s)
    if limit_s >= LONG_LIMIT_S:
        failed(organization_id, limit_s, f"it took longer than {limit_s:.0f} s")
    else:
        _write(organization_id, _LONGEST_STAY, seconds=limit_s)
        request_long(organization_id, trigger)


def _write_failure(organization_id: int, seconds: float, error: str, pause: timedelta) -> None:
    recent = BackgroundCycles.objects.filter(pk=organization_id, until__gt=Now() - _SHORTEST_STAY)
    former = recent.exclude(failures=0).first()
    failures = former.failures + 1 if former else 1
    is_one_of_few = failures < FAILURES and seconds < LONG_S
    _write(
        organization_id, timedelta(0) if is_one_of_few else _SHORTEST_STAY,
        seconds=max(seconds, former.seconds if former else 0),
        failures=failures,
        failing_since=former.failing_since if former else Now(),
        retry_at=Now() + pause,
        error=error,
    )  # fmt: skip


def _write(organization_id: int, stays: timedelta, **values: object) -> None:
    """Write the values, and that the organization's cycles stay in the background for `stays`."""
    try:
        BackgroundCycles.objects.update_or_create(
            pk=organization_id,
            defaults={**values, "until": Greatest(F("until"), Now() + stays)},
            create_defaults={**values, "until": Now() + stays},
        )
    except DatabaseError:
        log.warning("lane_not_recorded", organization=organization_id, exc_info=True)
        connection.close()


def _key(organization_id: int) -> str:
    return f"lanes:{organization_id}"
