"""What one cluster is doing: what runs there, what is held there for whom, how its drain goes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Q

from clusters.models import DIMENSIONS, Cluster
from deployments.models import Deployment, Run
from hypervisor.console.data.cluster_timeline import Stay, Timeline
from orgs.models import Event
from scheduling.cycle.snapshot import load
from scheduling.insight.queue import competitors

_MOST_RUNS = 5000
"""So many runs are looked at for a drawing, the latest."""

_SHORTEST_S = 120
"""A drawing spans no less, however young the cluster."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How far a drain is: of `total` that were there, `left` still count, and containers stop."""

    since: datetime
    actor: str
    total: int
    left: int
    stopping: int

    @property
    def gone(self) -> int:
        return max(self.total - self.left, 0)

    @property
    def is_over(self) -> bool:
        return not (self.left or self.stopping)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room of the cluster that is held for a deployment that has waited long."""

    deployment: int
    name: str
    amounts: tuple[int, int, int]
    until: datetime | None


def drain_of(cluster: Cluster) -> Drain | None:
    """Return how the cluster's drain goes, None when it does not drain."""
    if cluster.state != Cluster.State.DRAINING:
        return None
    begun = Event.objects.filter(
        subject=Event.Subject.CLUSTER, subject_id=cluster.pk, kind=Cluster.State.DRAINING
    ).latest("pk")
    there = Q(released_at=None) | Q(released_at__gte=begun.time)
    return Drain(
        since=begun.time,
        actor=begun.actor,
        total=cluster.runs.filter(there, placed_at__lt=begun.time).count(),
        left=cluster.deployments.active().count(),
        stopping=cluster.runs.unfinished().filter(released_at__isnull=False).count(),
    )


def reservation_on(cluster: Cluster, now: datetime) -> Reservation | None:
    """Return for whom room is held on the cluster: there is one reservation a cluster at most.

    The planner is asked only when somebody has waited long enough to have room held.
    """
    long_ago = now - timedelta(seconds=settings.SCHEDULER_POLICY.starvation_seconds)
    ready = Deployment.objects.filter(organization=cluster.organization_id).ready(now)
    if not ready.filter(queued_at__lte=long_ago).exists():
        return None
    for competitor in competitors(load(cluster.organization_id, lock=False)):
        wait = competitor.wait
        held = wait.detail.get("reservation") if wait and wait.code == "reserved" else None
        if held and held["cluster"] == cluster.pk:
            request = competitor.row.request
            return Reservation(
                competitor.row.id,
                Deployment.objects.values_list("name", flat=True).get(pk=competitor.row.id),
                (request.cpu_milli, request.ram_mib, request.gpu),
                _time(held["until"]),
            )
    return None


def timeline_of(cluster: Cluster, now: datetime, span: timedelta) -> Timeline:
    """Draw what ran on the cluster in the last `span`; the usage is of GPU, or else of CPU.

    It begins with the first run there, if that is later.
    """
    start = now - span
    runs = cluster.runs.filter(
        Q(released_at=None) | Q(released_at__gt=start), placed_at__lt=now
    ).select_related("deployment")
    column = "gpu" if cluster.gpu else "cpu_milli"
    stays = list(_stays(list(runs.order_by("-pk")[:_MOST_RUNS]), column))
    first = min((stay.placed for stay in stays), default=0)
    begin = max(start.timestamp(), min(first, now.timestamp() - _SHORTEST_S))
    return Timeline(stays, begin, now.timestamp(), getattr(cluster, column))


def share_of(row: Deployment, cluster: Cluster) -> float:
    """Return the largest share of the cluster's capacity that it takes, from 0 to 1."""
    capacities = {name: int(getattr(cluster, name)) for name in DIMENSIONS}
    return max(int(getattr(row, name)) / amount for name, amount in capacities.items() if amount)


def _stays(runs: list[Run], column: str) -> Iterator[Stay]:
    for run in runs:
        yield Stay(
            run=run.pk,
            deployment=run.deployment_id,
            name=run.deployment.name,
            priority=run.deployment.priority,
            amount=getattr(run, column),
            placed=run.placed_at.timestamp(),
            released=run.released_at.timestamp() if run.released_at else None,
            ended=run.ended_at.timestamp() if run.ended_at else None,
            outcome=run.outcome,
            preemptor=run.preempted_by_id,
        )


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
