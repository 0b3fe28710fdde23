"""The whole page as one object."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from deployments.runtime.models import Run
from hypervisor.base.durations import with_milliseconds
from hypervisor.console.dashboard import capacity, over_time, queue
from hypervisor.console.dashboard.capacity import ClusterNow, OrganizationNow
from hypervisor.console.dashboard.gpu_models import GpuModel, gpu_models
from hypervisor.console.dashboard.queue import LastHour, Level, Waits
from hypervisor.console.links import link_of
from hypervisor.ui.charts import Plot
from hypervisor.ui.templatetags.blocks import duration
from scheduling.models import Day, Sample
from scheduling.monitoring import health, idle
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.alarms import Hour, alarms
from scheduling.monitoring.health import Health
from scheduling.monitoring.histogram import quantile

_CLUSTERS = 40
_MODELS = 20
_ORGANIZATIONS = 20
_DAYS = 7


@dataclass(frozen=True, slots=True)
class Score:
    """One day measured against the scheduler's three aims, with goodput and waits."""

    day: Day
    packed: float | None
    ran: float | None
    goodput: float | None
    median_wait_s: float | None
    p95_wait_s: float | None

    @property
    def inversions(self) -> str:
        """Return the priority inversions in words, in deployments times minutes."""
        parts = {
            "behind lower priorities": self.day.inverted,
            "despite free capacity": self.day.overlooked,
        }
        return ", ".join(f"{count} min {kind}" for kind, count in parts.items() if count)


@dataclass(frozen=True, slots=True)
class Dashboard:
    now: datetime
    span: str
    health: Health
    alarms: list[Alarm]
    total: ClusterNow
    clusters: list[ClusterNow]
    more_clusters: int
    organizations: list[OrganizationNow]
    more_organizations: int
    gpu_models: list[GpuModel]
    more_gpu_models: int
    chosen: ClusterNow | None
    levels: list[Level]
    waits: Waits
    last: Sample | None
    idle: float | None
    hour: LastHour
    plots: tuple[list[Plot], list[Plot]]
    scores: list[Score]
    recent: list[Run]

    @property
    def alarms_with_links(self) -> list[tuple[Alarm, tuple[str, str] | None]]:
        return [(alarm, link_of(alarm)) for alarm in self.alarms]

    @property
    def ready(self) -> int:
        return sum(level.ready for level in self.levels)

    @property
    def held(self) -> int:
        return sum(level.held for level in self.levels)

    @property
    def delayed(self) -> int:
        return sum(level.delayed for level in self.levels)

    @property
    def starting_note(self) -> str:
        return f"and {self.total.starting} starting" if self.total.starting else "none is starting"

    @property
    def waiting_note(self) -> str:
        return f"{self.held} on hold, {self.delayed} in back-off"

    @property
    def placed_note(self) -> str:
        if self.hour.p95_wait_s is None:
            return "nothing was placed in the last hour"
        worst = duration(self.hour.p95_wait_s)
        return (
            f"median of those placed in the last hour, without those that wait; 95% within {worst}"
        )

    @property
    def waits_note(self) -> str:
        if self.waits.longest_s is None:
            return "nothing is waiting"
        return f"of those that wait now; the longest {duration(self.waits.longest_s)}"

    @property
    def moved_note(self) -> str:
        return f"and {self.hour.moved} moved, in the last hour"

    @property
    def cycle_note(self) -> str:
        if not self.hour.cycles:
            return "in the last hour"
        return (
            f"in the last hour: {self.hour.placed} placed,"
            f" {with_milliseconds(self.hour.mean_cycle_s or 0)} each,"
            f" {with_milliseconds(self.hour.slowest_cycle_s or 0)} at most"
        )

    @property
    def summary(self) -> str:
        """Return the text that screen readers announce when it changes."""
        urgent = sum(alarm.level != "info" for alarm in self.alarms)
        count = f"{urgent} {'alarm' if urgent == 1 else 'alarms'}. " if urgent else "No alarms. "
        latest = self.recent[0] if self.recent else None
        return count + (f"Latest preemption: {latest.deployment.name}." if latest else "")


def read(span: str, cluster_id: int | None, now: datetime | None = None) -> Dashboard:
    """Return the page; the plots are of one cluster, or of all clusters together."""
    now = now or timezone.now()
    last = Sample.objects.order_by("-time").first()
    hour = queue.last_hour(now)
    present = health.read(now, last)
    clusters = capacity.clusters(last.reserved if last else {})
    chosen = next((cluster for cluster in clusters if cluster.id == cluster_id), None)
    total = capacity.total(clusters)
    organizations: list[OrganizationNow] = []
    if len({cluster.organization_id for cluster in clusters}) > 1:
        organizations = capacity.by_organization(clusters, queue.waiting_by_organization(now))
    models = gpu_models(clusters)
    return Dashboard(
        now=now,
        span=span,
        health=present,
        alarms=alarms(now, present, last, Hour(hour.suspended, hour.failed, hour.ended)),
        total=total,
        clusters=sorted(clusters, key=lambda c: (not c.lost, -c.fullness, c.name))[:_CLUSTERS],
        more_clusters=max(len(clusters) - _CLUSTERS, 0),
        organizations=organizations[:_ORGANIZATIONS],
        more_organizations=max(len(organizations) - _ORGANIZATIONS, 0),
        gpu_models=models[:_MODELS],
        more_gpu_models=max(len(models) - _MODELS, 0),
        chosen=chosen,
        levels=queue.levels(now),
        waits=queue.waits(now),
        last=last,
        idle=idle.share(now - idle.SPAN, now),
        hour=hour,
        plots=over_time.plots(
            span, chosen, chosen or total, last.time if last else now, len(organizations)
        ),
        scores=[_score(day) for day in Day.objects.order_by("-date")[:_DAYS]],
        recent=queue.recent(),
    )


def _score(day: Day) -> Score:
    return Score(
        day=day,
        packed=day.packed / day.packable if day.packable else None,
        ran=day.ran / day.submitted if day.submitted else None,
        goodput=1 - day.lost / day.work if day.work else None,
        median_wait_s=quantile(day.waits, 0.5),
        p95_wait_s=quantile(day.waits, 0.95),
    )
