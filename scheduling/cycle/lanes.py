"""Which workers run an organization's cycles, so that no organization waits for another's.

The workers of the default queue run short cycles. They hand the cycles of an organization over to
the workers of the queue `background` for some time when long ones have taken too much time, or
after several failed or found rows locked. So an organization occupies a process of the default
queue for a limited part of the time.
"""

from datetime import timedelta
from time import monotonic

import structlog
from celery import current_app
from django.core.cache import cache
from django.db import DatabaseError, connection
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now

from scheduling.models import BackgroundCycles
from scheduling.monitoring import heartbeats

RUN_LONG_CYCLE = "scheduling.run_long_cycle"
WRITE_REASONS = "scheduling.write_reasons"
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

_BURST_S = float(SHORT_LIMIT_S)
"""How long an organization's long cycles may take in a process of the default queue before the
first one counts. The time grows back at the same 60th. A process that begins, or that brings its
copy up to date after thousands of changes, needs it once, and then its cycles are short."""

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
    """Request a cycle with the limit of the background, unless one is requested."""
    _request(RUN_LONG_CYCLE, organization_id, trigger)


def request_reasons(organization_id: int) -> None:
    """Request that the background writes why deployments wait, unless that is requested."""
    _request(WRITE_REASONS, organization_id)


def _request(task: str, organization_id: int, *rest: str) -> None:
    """Request work in the background; without a worker there, those of the default queue do it."""
    try:
        if cache.add(_key(task, organization_id), 1, timeout=_MERGE_S):
            queue = BACKGROUND if heartbeats.is_working(BACKGROUND) else None
            current_app.send_task(
                task, args=[organization_id, *rest], queue=queue, expires=_MERGE_S
            )
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning(
            "background_not_requested", task=task, organization=organization_id, error=str(error)
        )


def begin(task: str, organization_id: int) -> None:
    """Record that work in the background begins, so that later changes need their own request."""
    try:
        cache.delete(_key(task, organization_id))
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_record_lost", error=str(error))


def succeeded(organization_id: int, seconds: float, cpu_s: float) -> None:
    """Record that the organization's cycles work, and the duration of this one if it was long.

    Long cycles that this process has had time for do not count (see `_BURST_S`).
    """
    spent = seconds if seconds >= LONG_S else cpu_s
    if (spent >= LONG_S or cpu_s >= LONG_CPU_S) and _spends_too_much(organization_id, spent):
        _write(
            organization_id, _stay(cpu_s),
            seconds=seconds, failures=0, failing_since=None, retry_at=None,
        )  # fmt: skip
    else:
        rows = BackgroundCycles.objects.filter(pk=organization_id).exclude(failures=0)
        rows.update(failures=0, failing_since=None, retry_at=None)


def spent(organization_id: int, cpu_s: float) -> None:
    """Count what this process computed for the organization beside its cycles as a long cycle."""
    if cpu_s >= LONG_CPU_S and _spends_too_much(organization_id, cpu_s):
        _write(organization_id, _stay(cpu_s), seconds=cpu_s)


_left: dict[int, tuple[float, float]] = {}
"""By organization, the seconds that its long cycles had left in this process, and when."""


def _spends_too_much(organization_id: int, seconds: float) -> bool:
    """Return whether a long cycle takes more than the organization has left, and take it."""
    now = monotonic()
    left, at = _left.get(organization_id, (_BURST_S, now))
    left = min(left + (now - at) / _STAYS_FACTOR, _BURST_S) - seconds
    _left[organization_id] = max(left, 0.0), now
    return left < 0


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


def _key(task: str, organization_id: int) -> str:
    return f"lanes:{task}:{organization_id}"
