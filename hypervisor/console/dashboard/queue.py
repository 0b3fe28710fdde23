"""The pending deployments by priority, the last hour's figures, and the latest preemptions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Aggregate, Count, Min, Q

from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base.numbers import whole
from scheduling.models import Sample
from scheduling.monitoring.histogram import merge, quantile

_RECENT = 6


@dataclass(frozen=True, slots=True)
class Level:
    """How many deployments of a priority, or a range, compete, are on hold, or in back-off."""

    name: str
    ready: int
    held: int
    delayed: int
    percent: float

    @property
    def priority(self) -> int | None:
        return whole(self.name)


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits until now of those that compete, in seconds; None without any."""

    median_s: float | None
    longest_s: float | None


@dataclass(frozen=True, slots=True)
class LastHour:
    placed: int
    evicted: int
    moved: int
    suspended: int
    failed: int
    ended: int
    cycles: int
    mean_cycle_s: float | None
    slowest_cycle_s: float | None
    median_wait_s: float | None
    p95_wait_s: float | None


def levels(now: datetime) -> list[Level]:
    """Count the pending deployments by priority, or by tens if there are many priorities."""
    rows = (
        Deployment.objects.pending()
        .order_by()
        .values("priority")
        .annotate(
            # The index of pending deployments has this column, but not the key.
            total=Count("held"),
            on_hold=Count("held", filter=Q(held=True)),
            in_backoff=Count("held", filter=Q(held=False, ready_after__gt=now)),
        )
    )
    by_priority = {
        row["priority"]: (
            row["total"] - row["on_hold"] - row["in_backoff"],
            row["on_hold"],
            row["in_backoff"],
        )
        for row in rows
    }
    groups: dict[str, list[tuple[int, int, int]]] = {}
    for priority in sorted(by_priority, reverse=True):
        low = (priority - 1) // 10 * 10 + 1
        name = str(priority) if len(by_priority) <= 10 else f"{low} to {low + 9}"
        groups.setdefault(name, []).append(by_priority[priority])
    sums = {name: [sum(part) for part in zip(*rows, strict=True)] for name, rows in groups.items()}
    most = max((ready for ready, _, _ in sums.values()), default=0)
    return [
        Level(name, ready, held, delayed, 100 * ready / most if most else 0)
        for name, (ready, held, delayed) in sums.items()
    ]


class _Median(Aggregate):
    function = "PERCENTILE_DISC"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"


def waits(now: datetime) -> Waits:
    """Return how long the ready deployments have waited, those beyond an array's limit excluded."""
    ready = Deployment.objects.ready(now).within_limits().order_by()
    since = ready.aggregate(median=_Median("queued_at"), first=Min("queued_at"))
    times = (since["median"], since["first"])
    return Waits(*(None if t is None else max((now - t).total_seconds(), 0) for t in times))


def waiting_by_organization(now: datetime) -> dict[int, int]:
    """Count the ready deployments that compete, by their organization's id."""
    ready = Deployment.objects.ready(now).within_limits().order_by().values("organization")
    return dict(ready.annotate(many=Count("pk")).values_list("organization", "many"))


def last_hour(now: datetime) -> LastHour:
    rows = Sample.objects.filter(time__gt=now - timedelta(hours=1), time__lte=now).order_by()
    names = ("placed", "evicted", "moved", "suspended", "failed", "ended", "cycles", "cycle_us")
    columns = list(rows.values_list(*names, "slowest_cycle_us", "waits"))
    sums = {name: sum(row[i] for row in columns) for i, name in enumerate(names)}
    cycle_us = sums.pop("cycle_us")
    waits = merge(row[-1] for row in columns)
    return LastHour(
        **sums,
        mean_cycle_s=cycle_us / sums["cycles"] / 1e6 if sums["cycles"] else None,
        slowest_cycle_s=max((row[-2] for row in columns), default=0) / 1e6 or None,
        median_wait_s=quantile(waits, 0.5),
        p95_wait_s=quantile(waits, 0.95),
    )


def recent() -> list[Run]:
    """Return the latest runs that were evicted or moved, the newest first."""
    lost = Run.objects.filter(outcome__in=[Run.Outcome.EVICTED, Run.Outcome.MOVED])
    newest = lost.filter(released_at__isnull=False).order_by("-released_at")[:_RECENT]
    return list(newest.select_related("deployment", "cluster", "preempted_by"))
