"""One cluster's drain, reservation and timeline."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from django.conf import settings
from django.db.models import Q

from clusters.capacity import Capacity
from clusters.models import DIMENSIONS, Cluster
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.ui.data.cluster_timeline import Stay, Timeline
from orgs.models import Event
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load
from scheduling.insight.organization_queue import Filters, OrganizationQueue
from scheduling.insight.wording import named, names_in
from scheduling.planner.plan import SCATTERED

_SCATTERED_SHOWN = 3

_MOST_RUNS = 5000
"""The number of latest runs that are read for a timeline."""

_SHORTEST_S = 120
"""The shortest span of a timeline, even if the cluster is younger."""


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain's progress: of `total` deployments `remaining` are active; containers may stop."""

    since: datetime
    actor: str
    total: int
    remaining: int
    stopping: int

    @property
    def done(self) -> int:
        return max(self.total - self.remaining, 0)

    @property
    def is_over(self) -> bool:
        return not (self.remaining or self.stopping)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Capacity of a node of the cluster, reserved for a deployment that has waited too long."""

    deployment: int
    name: str
    node: int | None
    amounts: Capacity
    until: datetime | None


def drain_of(cluster: Cluster) -> Drain | None:
    """Return the cluster's drain, or None if it is not draining."""
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
        remaining=cluster.deployments.active().count(),
        stopping=cluster.runs.unfinished().filter(released_at__isnull=False).count(),
    )


@dataclass(frozen=True, slots=True)
class Scattered:
    """A deployment for which enough is free on the cluster, but on no node of it."""

    deployment: int
    name: str
    reason: str


def waits_on(cluster: Cluster, now: datetime) -> Loaded | None:
    """Return what the organization's next plan is made of, for `reservations_on`.

    The planner runs only if a deployment has waited long enough for a reservation. Otherwise return
    None, because there is none.
    """
    long_ago = now - timedelta(seconds=settings.SCHEDULER_POLICY.starvation_seconds)
    of_organization = Deployment.objects.filter(organization=cluster.organization_id)
    ready = of_organization.ready(now).within_limits()
    if not ready.filter(queued_at__lte=long_ago).exists():
        return None
    return load(cluster.organization_id, lock=False)


def scattered_on(cluster: Cluster, loaded: Loaded) -> list[Scattered]:
    """Return the first deployments for which the cluster's free capacity is scattered."""
    scattered = (
        wait
        for competitor in OrganizationQueue(loaded, Filters(code=SCATTERED)).competitors()
        if (wait := competitor.wait)
        and any(
            row["cluster"] == cluster.pk and row["code"] == SCATTERED
            for row in wait.detail["clusters"]
        )
    )
    found = list(islice(scattered, _SCATTERED_SHOWN))
    moving = names_in(found)
    ids = [wait.deployment for wait in found]
    names = dict(Deployment.objects.filter(pk__in=ids).values_list("pk", "name"))
    return [
        Scattered(wait.deployment, names[wait.deployment], named(wait, moving))
        for wait in found
        if wait.deployment in names
    ]


def reservations_on(cluster: Cluster, loaded: Loaded | None) -> list[Reservation]:
    """Return the reservations on the cluster; each of its nodes has at most one."""
    if loaded is None:
        return []
    found = {
        wait.deployment: (loaded.known[wait.deployment].deployment.request, place)
        for wait in next_plan(loaded).reserved
        if (place := wait.detail["reservation"])
    }
    names = dict(Deployment.objects.filter(pk__in=found).values_list("pk", "name"))
    return [
        Reservation(
            pk,
            names[pk],
            place.get("node"),
            Capacity(request.cpu_milli, request.ram_mib, request.gpu),
            _time(place["until"]),
        )
        for pk, (request, place) in found.items()
        if place["cluster"] == cluster.pk and pk in names
    ]


def timeline_of(cluster: Cluster, now: datetime, span: timedelta) -> Timeline:
    """Draw the cluster's runs in the last `span`, and the allocation of GPU, or else of CPU.

    The drawing begins with the first run, if that is later.
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
    """Return the deployment's largest share of the cluster's capacity, from 0 to 1."""
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
