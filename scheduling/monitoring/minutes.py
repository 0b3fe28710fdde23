"""Record a sample of the platform each minute, so that pages read a few rows instead of all.

Allocations and counts of missed minutes are filled in later from the runs and the cycles; the state
of the queue at those minutes stays unknown.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Max, Q, Sum
from django.db.models.functions import TruncMinute
from django.utils import timezone

from clusters.models import DIMENSIONS
from deployments.runtime.models import Run
from scheduling.models import ClusterSample, Sample, SchedulingCycle
from scheduling.monitoring.health import cycles_are_late_after
from scheduling.monitoring.histogram import histogram
from scheduling.monitoring.queue_metrics import Backlog

MINUTE = timedelta(minutes=1)
USAGE = tuple(f"{kind}{name}" for kind in ("", "used_", "held_", "idle_") for name in DIMENSIONS)
"""The columns of capacity, allocated (`used_`), reserved (`held_`) and kept idle (`idle_`)."""

WAITS = """
    SELECT d.organization_id, r.placed_at,
           extract(epoch FROM r.placed_at - greatest(d.queued_at, former.released_at)) AS seconds
    FROM deployments_run r JOIN deployments_deployment d ON d.id = r.deployment_id
    LEFT JOIN LATERAL (
        SELECT p.released_at, p.outcome FROM deployments_run p
        WHERE p.deployment_id = r.deployment_id AND p.id < r.id ORDER BY p.id DESC LIMIT 1
    ) former ON true
    WHERE r.placed_at >= %(since)s AND r.placed_at < %(until)s AND d.queued_at <= r.placed_at
      AND former.outcome IS DISTINCT FROM 'moved'
"""
"""The waits of deployments that were placed in that time, since they were queued or evicted.

A move is not a placement from the queue, so it does not count.
"""

_FILL_IN = timedelta(hours=24)


@transaction.atomic
def take_sample(now: datetime | None = None) -> Sample | None:
    """Record this minute and those since the last sample; return None if it is already recorded."""
    now = now or timezone.now()
    minute = now.replace(second=0, microsecond=0)
    last = Sample.objects.order_by("-time").first()
    if last and last.time >= minute:
        return None
    since = max(last.time, minute - _FILL_IN) if last else minute - _FILL_IN
    _record_clusters(since + MINUTE, minute)
    backlog = Backlog(now, last)
    _add_reservations(minute, backlog.reserved)
    samples = list(_samples(since, minute))
    for name, value in backlog.columns().items():
        setattr(samples[-1], name, value)
    Sample.objects.bulk_create(samples, ignore_conflicts=True)
    return samples[-1]


def _record_clusters(first: datetime, last: datetime) -> None:
    """Record for each cluster and minute what was allocated, reserved, and kept idle."""
    kinds = {"used": "r.launched_at <= m", "held": "r.launched_at IS NULL OR r.launched_at > m"}
    sums = ", ".join(
        f"sum(r.{name}) FILTER (WHERE {condition}) AS {kind}_{name}"
        for kind, condition in kinds.items()
        for name in DIMENSIONS
    )
    columns = ", ".join(f"coalesce(a.{kind}_{name}, 0)" for kind in kinds for name in DIMENSIONS)
    idle_columns = ", ".join(f"coalesce(i.{name}, 0)" for name in DIMENSIONS)
    sql = f"""
        WITH amounts AS (
            SELECT r.cluster_id, m, {sums}
            FROM deployments_run r CROSS JOIN LATERAL generate_series(
                greatest(date_trunc('minute', r.placed_at - interval '1 microsecond')
                         + interval '1 minute', %(first)s),
                least(r.released_at - interval '1 microsecond', %(last)s),
                interval '1 minute') m
            WHERE r.cluster_id IS NOT NULL AND r.placed_at <= %(last)s
              AND (r.released_at IS NULL OR r.released_at > %(first)s)
            GROUP BY r.cluster_id, m
        ), {_idle()}
        INSERT INTO scheduling_clustersample (cluster_id, time, {", ".join(USAGE)})
        SELECT c.id, minute, c.cpu_milli, c.ram_mib, c.gpu, {columns}, {idle_columns}
        FROM clusters_cluster c
        CROSS JOIN generate_series(%(first)s, %(last)s, interval '1 minute') minute
        LEFT JOIN amounts a ON a.cluster_id = c.id AND a.m = minute
        LEFT JOIN idle i ON i.cluster_id = c.id AND i.m = minute
        WHERE c.created_at <= minute + interval '1 minute'
        ON CONFLICT DO NOTHING
    """  # noqa: S608
    span: dict[str, Any] = {"first": first, "last": last, "late": cycles_are_late_after()}
    with connection.cursor() as cursor:
        cursor.execute(sql, span)


def _idle() -> str:
    """Return SQL that selects, as `idle`, what was kept idle by cluster and minute, as a mean.

    What a cycle's reservations keep idle lasts until the organization's next cycle; if there is
    none, until cycles are late.
    """
    means = ", ".join(
        f"sum((entry.value->>'{name}')::float * extract(epoch FROM"
        f" least(until, m) - greatest(since, m - interval '1 minute'))) / 60 AS {name}"
        for name in DIMENSIONS
    )
    return f"""cycles AS (
            SELECT idle, started_at AS since, least(
                lead(started_at) OVER (PARTITION BY organization_id ORDER BY started_at, id),
                started_at + %(late)s) AS until
            FROM scheduling_schedulingcycle
            WHERE started_at > %(first)s - interval '1 minute' - %(late)s
              AND started_at < %(last)s
        ), idle AS (
            SELECT entry.key::bigint AS cluster_id, m, {means}
            FROM cycles CROSS JOIN LATERAL jsonb_each(idle) entry
            CROSS JOIN LATERAL generate_series(
                greatest(date_trunc('minute', since) + interval '1 minute', %(first)s),
                least(date_trunc('minute', until - interval '1 microsecond')
                      + interval '1 minute', %(last)s),
                interval '1 minute') m
            GROUP BY entry.key, m
        )"""  # noqa: S608


def _add_reservations(minute: datetime, reserved: Mapping[int, Mapping[str, int]]) -> None:
    """Add the capacity reserved for deployments that have waited too long, as far as it is free."""
    rows = list(ClusterSample.objects.filter(cluster__in=reserved, time=minute))
    for row in rows:
        for name, amount in reserved[row.cluster_id].items():
            used, held = getattr(row, f"used_{name}"), getattr(row, f"held_{name}")
            free = max(getattr(row, name) - used - held, 0)
            setattr(row, f"held_{name}", held + min(amount, free))
    ClusterSample.objects.bulk_update(rows, [f"held_{name}" for name in DIMENSIONS])


def _samples(since: datetime, last: datetime) -> Iterator[Sample]:
    """Yield a sample for each minute after `since`, with the sums over the clusters and counts."""
    sums = {f"sum_{name}": Sum(name) for name in USAGE}
    rows = ClusterSample.objects.filter(time__gt=since, time__lte=last).order_by().values("time")
    by_time: dict[datetime, Any] = {row["time"]: row for row in rows.annotate(**sums)}
    counts = _counts(since, last)
    time = since
    while (time := time + MINUTE) <= last:
        usage = {name: by_time.get(time, {}).get(f"sum_{name}", 0) for name in USAGE}
        yield Sample(time=time, **usage, **counts[time])


def _counts(since: datetime, last: datetime) -> dict[datetime, dict[str, Any]]:
    """Return the counts of each minute that ends after `since`."""
    counts: dict[datetime, dict[str, Any]] = defaultdict(dict)
    outcome = Run.Outcome
    kinds = {
        "evicted": Q(outcome=outcome.EVICTED),
        "moved": Q(outcome=outcome.MOVED),
        "failed": Q(outcome=outcome.FAILED),
        "ended": Q(outcome__in=[outcome.COMPLETED, outcome.FAILED, outcome.STOPPED]),
    }
    released = Run.objects.filter(released_at__gte=since, released_at__lt=last)
    cycles = SchedulingCycle.objects.filter(started_at__gte=since, started_at__lt=last)
    took = F("snapshot_us") + F("plan_us") + F("apply_us")
    rows = [
        *_by_minute(
            released, "released_at", **{k: Count("pk", filter=q) for k, q in kinds.items()}
        ),
        *_by_minute(
            cycles, "started_at", number=Count("pk"), cycle_us=Sum(took),
            slowest_cycle_us=Max(took), suspended=Sum("suspended"),
        ),
    ]  # fmt: skip
    for row in rows:
        if "number" in row:
            row["cycles"] = row.pop("number")
        counts[row.pop("minute") + MINUTE].update(row)
    for minute, waits in _waits(since, last).items():
        counts[minute + MINUTE].update(placed=len(waits), waits=histogram(waits))
    return counts


def _by_minute(rows: Any, time: str, **figures: Any) -> list[dict[str, Any]]:
    minutes = rows.order_by().annotate(minute=TruncMinute(time)).values("minute")
    return list(minutes.annotate(**figures))


def _waits(since: datetime, last: datetime) -> dict[datetime, list[float]]:
    """Return, by minute, the waits of the deployments that were placed."""
    waits: dict[datetime, list[float]] = defaultdict(list)
    with connection.cursor() as cursor:
        sql = f"SELECT date_trunc('minute', placed_at), seconds FROM ({WAITS}) waits"  # noqa: S608
        cursor.execute(sql, {"since": since, "until": last})
        for minute, wait in cursor.fetchall():
            waits[minute].append(float(wait))
    return waits
