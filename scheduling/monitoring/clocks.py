"""Compare this process's clock with the database's, and correct times that a wrong clock wrote.

Such a time may lie in the future, and something would wait until then. `cut` sets it back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

import structlog
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, When
from django.db.models.functions import Least
from django.utils import timezone

from clusters.models import Connection
from deployments.choices import Status
from deployments.lifecycle import Change, update_reasons
from deployments.models import Deployment
from deployments.runtime.models import Run
from deployments.runtime.outcomes import LONGEST_DELAY
from scheduling.models import ClusterSample, Pulse, Sample, SchedulingCycle

TOLERATED = timedelta(seconds=2)
"""A larger difference between clocks raises an alarm."""

_MARGIN = timedelta(minutes=1)
"""Only times further ahead than this are cut: nearer ones pass soon enough."""

CUT = "back_off_cut"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The database's time, and how far this process's clock is ahead of it (negative: behind).

    `ahead` may be too small, but not too large, because the answer takes time to arrive.
    """

    database: datetime
    ahead: timedelta


def read() -> Reading:
    began = monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        database: datetime = cursor.fetchone()[0]
    took = timedelta(seconds=monotonic() - began)
    earliest, latest = database, database + took
    now = timezone.now()
    ahead = max(now - latest, timedelta(0)) + min(now - earliest, timedelta(0))
    return Reading(database, ahead)


def cut(*, actor: str) -> int:
    """Set back the times that lie impossibly far ahead; return the number of rows changed.

    Change nothing if this process's own clock is wrong.
    """
    reading = read()
    if abs(reading.ahead) > TOLERATED:
        log.warning("clock_is_wrong", ahead_s=reading.ahead.total_seconds())
        return 0
    now = reading.database
    found = _cut_backoffs(now, actor) + sum(_cut_past_times(now))
    if found:
        log.warning("times_cut", rows=found)
    return found


def _cut_backoffs(now: datetime, actor: str) -> int:
    """End the back-offs that cannot be right, with an event for each deployment.

    Such a back-off is longer than the longest possible one, or began at the end of a run that lies
    in the future.
    """
    ends_ahead = Run.objects.filter(deployment=OuterRef("pk"), released_at__gt=now + _MARGIN)
    suspension = timedelta(seconds=settings.SCHEDULER_POLICY.suspension_seconds)
    late = Q(ready_after__gt=now + _longest_backoff() + _MARGIN)
    late |= Q(suspended_until__gt=now + suspension + _MARGIN)
    late |= Q(Exists(ends_ahead), ready_after__gt=now)
    with transaction.atomic():
        found = list(Deployment.objects.pending().filter(late).locked(skip_locked=True))
        reason = (
            "Its back-off was longer than any can be: a clock was wrong, or a threshold was"
            " lowered. It competes again."
        )
        changes = [Change(row.pk, reason, data={"code": CUT}) for row in found]
        Deployment.objects.filter(pk__in=[row.pk for row in found]).update(
            ready_after=_at_most("ready_after", now),
            suspended_until=_at_most("suspended_until", now),
            revision=F("revision") + 1,
        )
        update_reasons(CUT, changes, statuses=(Status.PENDING,), actor=actor, now=now)
    return len(found)


def _longest_backoff() -> timedelta:
    """Return the longest back-off after an eviction, an operator's preemption or a failure."""
    policy = settings.SCHEDULER_POLICY
    evicted = max(policy.longest_backoff_seconds, policy.operator_backoff_seconds)
    return max(timedelta(seconds=evicted), LONGEST_DELAY)


def _cut_past_times(now: datetime) -> Iterator[int]:
    """Set past times that lie in the future to now, and delete samples of future minutes."""
    yield _cut_runs(now)
    live = Deployment.objects.live()
    yield _cut(live, now, "queued_at", "placed_at", "started_at", "checkpoint_at")
    yield _cut(Connection.objects.all(), now, "lost_contact_at", "marked_at")
    yield _cut(Pulse.objects.all(), now, "time")
    yield _cut(SchedulingCycle.objects.all(), now, "started_at")
    for samples in (ClusterSample, Sample):
        yield samples.objects.filter(time__gt=now + _MARGIN).delete()[0]


def _cut_runs(now: datetime) -> int:
    """Cut the times of runs, keeping them in order."""
    limit = now + _MARGIN
    ahead = Q(launched_at__gt=limit) | Q(started_at__gt=limit) | Q(stop_requested_at__gt=limit)
    ahead = Q(placed_at__gt=limit) | Q(released_at__gt=limit) | (Q(ended_at=None) & ahead)
    # This time proves that a back-off is wrong, and that row may be locked at the moment.
    needed = Q(released_at__gt=limit, deployment__ready_after__gt=now)
    rows = Run.objects.filter(ahead).exclude(needed & Q(deployment__status=Status.PENDING))
    return rows.update(
        placed_at=_at_most(
            "placed_at", now, "launched_at", "started_at", "released_at", "ended_at"
        ),
        launched_at=_at_most("launched_at", now, "started_at", "released_at", "ended_at"),
        started_at=_at_most("started_at", now, "released_at", "ended_at"),
        released_at=_at_most("released_at", now, "ended_at"),
        stop_requested_at=_at_most("stop_requested_at", now),
        ended_at=_at_most("ended_at", now),
    )


def _cut(rows: models.QuerySet[models.Model], now: datetime, *names: str) -> int:
    ahead = Q()
    for name in names:
        ahead |= Q(**{f"{name}__gt": now + _MARGIN})
    return rows.filter(ahead).update(**{name: _at_most(name, now) for name in names})


def _at_most(name: str, now: datetime, *others: str) -> Case:
    """Return the time, or the earliest of now and the others if it is later; NULL stays NULL.

    LEAST alone would replace NULL, because PostgreSQL ignores NULL arguments.
    """
    return Case(When(**{f"{name}__isnull": False}, then=Least(F(name), now, *map(F, others))))
