"""Roll up the minutes of each day into one row that shows how well the scheduler worked."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max, Sum
from django.utils import timezone

from scheduling.models import Day, Sample
from scheduling.monitoring import idle
from scheduling.monitoring.histogram import added_up, without_trailing_zeros

_OPEN_DAYS = 3
"""The number of latest days that are rolled up again: their deployments may still run or fail."""

_SUMS = (
    "placed", "evicted", "moved", "failed", "ended", "suspended", "cycles", "cycle_us", "inverted",
    "overlooked", "packed", "packable",
)  # fmt: skip


def roll_up(now: datetime | None = None) -> list[Day]:
    """Write the rows of the latest days; return them, the newest first."""
    today = (now or timezone.now()).astimezone(UTC).date()
    return [_roll_up(today - timedelta(days=n), now or timezone.now()) for n in range(_OPEN_DAYS)]


def _roll_up(day: date, now: datetime) -> Day:
    start = datetime.combine(day, time.min, UTC)
    end = start + timedelta(days=1)
    samples = Sample.objects.filter(time__gt=start, time__lte=end)
    sums = samples.aggregate(
        minutes=Count("inverted"),
        slowest_cycle_us=Max("slowest_cycle_us"),
        **{f"sum_{name}": Sum(name) for name in _SUMS},
    )
    submitted, ran = _cohort(start, end)
    work, lost = _work(start, end, now)
    columns: dict[str, Any] = {name: sums[f"sum_{name}"] or 0 for name in _SUMS}
    columns |= {
        "minutes": sums["minutes"],
        "slowest_cycle_us": sums["slowest_cycle_us"] or 0,
        "waits": _waits(start, end),
        "submitted": submitted,
        "ran": ran,
        "work": work,
        "lost": lost,
        "idle": idle.share(start, end),
    }
    return Day.objects.update_or_create(date=day, defaults=columns)[0]


def _waits(start: datetime, end: datetime) -> list[int]:
    sql = f"SELECT {added_up('waits')} FROM scheduling_sample WHERE time > %s AND time <= %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [start, end])
        return without_trailing_zeros(cursor.fetchone())


def _cohort(start: datetime, end: datetime) -> tuple[int, int]:
    """Return how many deployments were submitted in that time, and how many of them ever ran."""
    sql = """
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT FROM deployments_run r
            WHERE r.deployment_id = d.id AND r.started_at IS NOT NULL))
        FROM deployments_deployment d WHERE d.created_at >= %s AND d.created_at < %s
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [start, end])
        submitted, ran = cursor.fetchone()
    return submitted, ran


def _work(start: datetime, end: datetime, now: datetime) -> tuple[float, float]:
    """Return the work done and the work lost in that time, in seconds.

    Work is run time, times the share of its cluster that the run was allocated. Lost is the work
    after the last checkpoint of a run that was evicted, moved or requeued, or failed.
    """
    sql = """
        WITH ran AS (
            SELECT r.deployment_id, r.started_at, r.released_at,
                   least(coalesce(r.released_at, %(now)s), %(end)s) AS until,
                   r.outcome IN ('evicted', 'moved', 'requeued', 'failed') AS interrupted,
                   greatest(r.cpu_milli::float / c.cpu_milli, r.ram_mib::float / c.ram_mib,
                            r.gpu::float / nullif(c.gpu, 0)) AS share
            FROM deployments_run r JOIN clusters_cluster c ON c.id = r.cluster_id
            WHERE r.started_at < %(end)s
              AND (r.released_at IS NULL OR r.released_at > %(start)s)
        )
        SELECT coalesce(sum(share * extract(epoch FROM
                   until - greatest(started_at, %(start)s))), 0),
               coalesce(sum(share * greatest(extract(epoch FROM
                   until - greatest(started_at, saved.time, %(start)s)), 0))
                   FILTER (WHERE interrupted), 0)
        FROM ran LEFT JOIN LATERAL (  -- a join would read all events, once a day is busy
            SELECT max(time) AS time FROM orgs_event
            WHERE subject = 'deployment' AND subject_id = ran.deployment_id AND kind = 'checkpoint'
              AND time BETWEEN ran.started_at AND ran.released_at
        ) saved ON ran.interrupted
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, {"start": start, "end": end, "now": now})
        work, lost = cursor.fetchone()
    return float(work), float(lost)
