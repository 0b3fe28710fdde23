"""The alarms about organizations whose scheduling cycles are missing, fail or take long."""

from collections.abc import Iterator
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now

from scheduling.cycle import lanes
from scheduling.models import BackgroundCycles
from scheduling.monitoring.alarm import Alarm, Subject
from scheduling.monitoring.health import cycles_are_late_after

_LONG_S = 30
_FEW = 5
"""Of alarms of the same kind, no more are shown."""


def found(now: datetime) -> Iterator[Alarm]:
    yield from _missing(now)
    yield from _failing()
    yield from _long()


def without_cycles(now: datetime, most: int) -> list[str]:
    """Return the names of organizations with long-ready deployments and no cycle since."""
    sql = """
        SELECT o.name FROM orgs_organization o
        WHERE coalesce((
            SELECT c.started_at FROM scheduling_schedulingcycle c
            WHERE c.organization_id = o.id ORDER BY c.id DESC LIMIT 1
        ), '-infinity') < %(limit)s AND EXISTS (
            SELECT FROM deployments_deployment d
            WHERE d.organization_id = o.id AND d.status = 'pending' AND NOT d.held
              AND d.queued_at < %(limit)s AND coalesce(d.ready_after < %(limit)s, true)
              AND NOT EXISTS (
                SELECT FROM deployments_dependency x WHERE x.deployment_id = d.id))
        ORDER BY o.id LIMIT %(most)s
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"limit": now - cycles_are_late_after(), "most": most})
        return [row[0] for row in cursor.fetchall()]


def failing() -> QuerySet[BackgroundCycles]:
    """Return the organizations whose cycles fail again and again."""
    return BackgroundCycles.objects.filter(until__gt=Now(), failures__gte=lanes.FAILURES)


def _missing(now: datetime) -> Iterator[Alarm]:
    names, late = without_cycles(now, most=4), cycles_are_late_after()
    if names:
        yield Alarm(
            "critical",
            "No scheduling cycle although deployments are ready",
            f"In {', '.join(names[:3])}{' and others' if names[3:] else ''}, for over"
            f" {late.total_seconds():.0f} seconds. See the worker's log for the error.",
            Subject.CYCLES,
        )


def _failing() -> Iterator[Alarm]:
    for row in failing().select_related("organization")[:_FEW]:
        yield Alarm(
            "critical",
            f"The cycles of {row.organization.name} fail since {row.failing_since:%Y-%m-%d %H:%M}"
            " UTC",
            f"{row.failures} in a row, the last one because of {row.error}. Nothing of this"
            " organization is placed; others are not affected. See the background worker's log.",
            Subject.CYCLES,
        )


def _long() -> Iterator[Alarm]:
    slow = BackgroundCycles.objects.filter(until__gt=Now(), seconds__gte=_LONG_S)
    for row in slow.select_related("organization").order_by("-seconds")[:_FEW]:
        yield Alarm(
            "warning",
            f"A cycle of {row.organization.name} takes {row.seconds:.0f} s",
            "Its deployments wait that long for each decision; others are not affected.",
            Subject.CYCLES,
        )
