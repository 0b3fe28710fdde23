"""The problems that need an operator's attention, the worst first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, Max, OuterRef

from clusters.engines import Engine
from clusters.models import Cluster, Connection, Node
from clusters.places import Places
from deployments import wait_codes
from deployments.models import Deployment
from deployments.runtime import orphans
from deployments.runtime.models import Run
from hypervisor.base.durations import in_words
from orgs.models import Event
from scheduling.models import Sample
from scheduling.monitoring import clocks, cycle_alarms, heartbeats, idle, open_writes
from scheduling.monitoring.alarm import Alarm, Subject
from scheduling.monitoring.health import Health

_DRAINS_LONG = timedelta(minutes=30)
_HELD_LONG = timedelta(days=1)
_STARTS_LONG = timedelta(minutes=10)
_STOPS_LONG = timedelta(minutes=10)
_NAMED = 3
_MANY = 1000
"""Counting stops here, because a larger number changes nothing for the operator."""

_FAILING_SHARE, _FAILING_COUNT = 0.5, 5


@dataclass(frozen=True, slots=True)
class Hour:
    """Sums over the samples of the last hour."""

    suspended: int
    failed: int
    ended: int


def alarms(
    now: datetime, health: Health, last: Sample | None, hour: Hour, here: str = "this web server"
) -> list[Alarm]:
    """Return the alarms, the worst first. `here` names the calling process."""
    found = [
        *_parts(health),
        *_clocks(now, here),
        *_engines(),
        *_engine_warnings(),
        *_unknown_containers(),
        *cycle_alarms.found(now),
        *_order(last),
        *open_writes.found(now),
        *_clusters(now),
        *_draining_nodes(now),
        *_stuck(now),
        *_waiting(now, last),
        *_last_hour(hour),
    ]
    levels = ("critical", "warning", "info")
    return sorted(found, key=lambda alarm: levels.index(alarm.level))


def _parts(health: Health) -> Iterator[Alarm]:
    consequence = {
        "Beat": "Periodic tasks do not run, so lost messages and ended back-offs wait. Start beat.",
        "Worker": "Nothing is placed. Start a worker.",
        "Background worker": "No samples are taken, and other organizations wait for long cycles."
        " Start a worker of the queue background.",
        "Engine worker": "Containers neither start nor stop. Start a worker of the queue engines.",
        "Broker": "Submissions are accepted but wait. Start the broker (Valkey or Redis).",
        "Samples": "The figures below are old. Beat and a worker take a sample every minute.",
    }
    for part in health.all:
        if part.is_bad:
            level = "critical" if part.state == "down" else "warning"
            title = f"{part.name}: {part.note}"
            yield Alarm(level, title, consequence[part.name], Subject.PERIODIC_TASKS)


def _clocks(now: datetime, here: str) -> Iterator[Alarm]:
    """Yield an alarm that names the processes whose clocks differ, this one included."""
    ahead = clocks.read().ahead
    wrong = heartbeats.wrong_clocks(now - ahead)
    if abs(ahead) > clocks.TOLERATED:
        wrong[here] = ahead.total_seconds()
    if wrong:
        worst = sorted(wrong.items(), key=lambda item: -abs(item[1]))[:5]
        offsets = ", ".join(f"{name} {_offset(seconds)}" for name, seconds in worst)
        yield Alarm(
            "critical",
            "Clocks disagree",
            f"Compared with the database's clock, {offsets}. Back-offs, lost contact and run times"
            " are wrong until these clocks are right: set them by NTP.",
        )


def _offset(seconds: float) -> str:
    return f"is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"


def _engines() -> Iterator[Alarm]:
    lost = Connection.objects.filter(lost_contact_at__isnull=False)
    rows = list(lost.order_by("lost_contact_at")[:20])
    places = Places.of_rows(rows)
    for row in rows:
        what = "is not this installation's" if row.unclaimed else "does not answer"
        yield Alarm(
            "critical",
            f"The engine of {places.of(row)} {what}",
            f"Since {row.lost_contact_at:%Y-%m-%d %H:%M} UTC. {row.last_error}".strip(),
            Subject.CLUSTER,
            row.cluster_id,
        )


def _engine_warnings() -> Iterator[Alarm]:
    rows = Connection.objects.exclude(warnings=[]).select_related("cluster")
    for row in rows.order_by("pk")[:20]:
        yield Alarm(
            "warning",
            f"The nodes of {row.cluster} are incomplete or out of date",
            " ".join(row.warnings),
            Subject.CLUSTER,
            row.cluster_id,
        )


def _unknown_containers() -> Iterator[Alarm]:
    found = Connection.objects.exclude(unknown_containers=[]).select_related("cluster", "node")
    rows = list(found.order_by("pk")[:20])
    places = Places.of_rows(rows)
    for row in rows:
        count = len(row.unknown_containers)
        yield Alarm(
            "critical",
            f"{_many(count, 'unknown container is', 'unknown containers are')} on {places.of(row)}",
            orphans.remedy(Engine(row.cluster, row)),
            Subject.CLUSTER,
            row.cluster_id,
        )


def _order(last: Sample | None) -> Iterator[Alarm]:
    if not last:
        return
    one = int(*last.suspects) if len(last.suspects) == 1 else None
    subject = Subject.QUEUE if one is None else Subject.DEPLOYMENT
    if last.inverted:
        yield Alarm(
            "critical",
            f"{_many(last.inverted, 'deployment waits', 'deployments wait')} for lower priorities",
            "Their capacity is allocated to lower-priority deployments that a cycle should have"
            " evicted.",
            subject,
            one,
        )
    if last.overlooked:
        yield Alarm(
            "critical",
            f"{_many(last.overlooked, 'deployment waits', 'deployments wait')} despite free"
            " capacity",
            "A cycle should have placed them.",
            subject,
            one,
        )


def _clusters(now: datetime) -> Iterator[Alarm]:
    draining = {row.pk: row for row in Cluster.objects.filter(state=Cluster.State.DRAINING)}
    if not draining:
        return
    since = Event.objects.filter(
        subject=Event.Subject.CLUSTER, subject_id__in=draining, kind=Cluster.State.DRAINING
    )
    begun = dict(since.order_by().values_list("subject_id").annotate(Max("time")))
    left = Run.objects.current().filter(cluster__in=draining).order_by()
    busy = set(left.values_list("cluster", flat=True).distinct())
    for pk, cluster in draining.items():
        if pk in busy:
            yield from _long_drain(cluster.name, pk, begun.get(pk), now)


def _draining_nodes(now: datetime) -> Iterator[Alarm]:
    busy = Run.objects.current().filter(node=OuterRef("pk"))
    draining = Node.objects.filter(Exists(busy), state=Node.State.DRAINING)
    rows = list(draining)
    if not rows:
        return
    since = Event.objects.filter(
        subject=Event.Subject.CLUSTER,
        subject_id__in=[node.cluster_id for node in rows],
        kind="node_draining",
    )
    begun = dict(since.order_by().values_list("data__node").annotate(Max("time")))
    places = Places.of_nodes(rows)
    for node in rows:
        yield from _long_drain(places.of_node(node), node.cluster_id, begun.get(node.pk), now)


def _long_drain(name: str, cluster: int, begun: datetime | None, now: datetime) -> Iterator[Alarm]:
    if begun and now - begun > _DRAINS_LONG:
        yield Alarm(
            "warning",
            f"{name} has been draining since {begun:%Y-%m-%d %H:%M} UTC",
            "Some of its deployments still run.",
            Subject.CLUSTER,
            cluster,
        )


def _stuck(now: datetime) -> Iterator[Alarm]:
    starting = Run.objects.current().filter(started_at=None, placed_at__lt=now - _STARTS_LONG)
    if count := starting[:_MANY].count():
        yield Alarm(
            "warning",
            f"{_many(count, 'container has', 'containers have')} not started in time",
            "They were placed over ten minutes ago. Check their engine, and whether their victims"
            " are still stopping.",
            Subject.QUEUE,
            where={"group": "placed"},
        )
    stopping = Run.objects.unfinished().filter(released_at__lt=now - _STOPS_LONG)
    if count := stopping[:_MANY].count():
        yield Alarm(
            "warning",
            f"{_many(count, 'container does', 'containers do')} not stop",
            "Their capacity was released over ten minutes ago, and other deployments wait for it.",
            Subject.RUNS,
            where={"outcome": "evicted"},
        )


def _waiting(now: datetime, last: Sample | None) -> Iterator[Alarm]:
    if last and last.starving:
        yield Alarm(
            "warning",
            f"{_many(last.starving, 'deployment has', 'deployments have')} waited too long",
            f"{_longest_waits(now)} Add capacity, or raise a priority. {_kept_idle(now)}",
            Subject.QUEUE,
            where={"waiting": "long", "sort": "wait"},
        )
    never = Deployment.objects.pending().filter(held=False, status_code__in=wait_codes.NEVER)
    if count := never.order_by()[:_MANY].count():
        yield Alarm(
            "warning",
            f"{_many(count, 'deployment', 'deployments')} can never start",
            "A dependency did not end as required, or no node is large enough and has the labels"
            " that they require. See their wait reasons.",
            Subject.DEPLOYMENTS,
            where={"status": "pending"},
        )
    held = Deployment.objects.pending().filter(held=True, queued_at__lt=now - _HELD_LONG)
    if count := held.order_by()[:_MANY].count():
        yield Alarm(
            "info",
            f"{_many(count, 'deployment is', 'deployments are')} on hold and over a day old",
            "Release or cancel them if they were forgotten.",
            Subject.QUEUE,
            where={"group": "held"},
        )


def _longest_waits(now: datetime) -> str:
    """Name the longest of the present waits that are too long."""
    limit = timedelta(seconds=settings.SCHEDULER_POLICY.starvation_seconds)
    starved = Deployment.objects.starved(now - limit).select_related("organization")
    rows: Iterable[Any] = starved[:_NAMED]
    named = [
        f"{row.name} of {row.organization} for {in_words((now - row.waits_since).total_seconds())}"
        f" ({row.status_code.replace('_', ' ')})"
        for row in rows
    ]
    which = "The longest" if len(named) > 1 else "It"
    return f"{which}: {', '.join(named)}." if named else ""


def _kept_idle(now: datetime) -> str:
    share = idle.share(now - idle.SPAN, now) or 0
    return f"Reservations kept {share:.1%} of the capacity idle over the last 24 hours."


def _last_hour(hour: Hour) -> Iterator[Alarm]:
    if hour.suspended:
        yield Alarm(
            "warning",
            f"Preemption was suspended for {_many(hour.suspended, 'deployment', 'deployments')}",
            "In the last hour, because earlier preemptions freed capacity that they never used.",
            Subject.EVENTS,
            where={"kind": "preemption_suspended"},
        )
    if hour.failed >= _FAILING_COUNT and hour.failed > _FAILING_SHARE * hour.ended:
        yield Alarm(
            "warning",
            f"{hour.failed} of the {hour.ended} runs that ended in the last hour failed",
            "Check whether they share an image or a cluster.",
            Subject.RUNS,
            where={"outcome": "failed"},
        )


def _many(count: int, one: str, more: str) -> str:
    if count >= _MANY:
        return f"{_MANY} or more {more}"
    return f"1 {one}" if count == 1 else f"{count} {more}"
