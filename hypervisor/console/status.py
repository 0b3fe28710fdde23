"""The service's health, its clusters and its queue, for `manage.py status`."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count
from django.utils import timezone

from clusters.models import Cluster, Connection
from deployments.models import Deployment
from hypervisor.console.dashboard import capacity, queue
from hypervisor.console.dashboard.capacity import ClusterNow
from scheduling.models import Sample
from scheduling.monitoring import health
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.alarms import Hour, alarms
from scheduling.monitoring.health import Part

_LONGEST = 3


@dataclass(frozen=True, slots=True)
class Engines:
    """How many engines are in contact, have lost contact, or are simulated."""

    in_contact: int
    lost: int
    simulated: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The pending deployments by their latest status code, and the longest-waiting ready ones."""

    total: int
    codes: dict[str, int]
    longest: list[Deployment]


@dataclass(frozen=True, slots=True)
class Status:
    now: datetime
    parts: tuple[Part, ...]
    engines: Engines
    alarms: list[Alarm]
    clusters: list[ClusterNow]
    waiting: Waiting

    @property
    def is_healthy(self) -> bool:
        """Return whether no alarm is critical, so that no operator has to act now."""
        return not any(alarm.level == "critical" for alarm in self.alarms)


def read() -> Status:
    """Return the present status. Raises django.db.Error if the database does not answer."""
    now = timezone.now()
    last = Sample.objects.order_by("-time").first()
    hour = queue.last_hour(now)
    seen = health.read(now, last)
    clusters = capacity.clusters({})
    return Status(
        now=now,
        parts=seen.all,
        engines=_engines(),
        alarms=alarms(
            now, seen, last, Hour(hour.suspended, hour.failed, hour.ended), here="this machine"
        ),
        clusters=sorted(clusters, key=lambda c: (not c.lost, -c.fullness, c.name, c.id)),
        waiting=_waiting(now),
    )


def _engines() -> Engines:
    connections = Connection.objects.count()
    lost = Connection.objects.filter(lost_contact_at__isnull=False).count()
    simulated = Cluster.objects.filter(connections=None).count()
    return Engines(connections - lost, lost, simulated)


def _waiting(now: datetime) -> Waiting:
    counted = Deployment.objects.pending().order_by().values("status_code")
    codes = dict(counted.annotate(many=Count("pk")).values_list("status_code", "many"))
    longest = Deployment.objects.ready(now).within_limits().select_related("organization")
    return Waiting(
        sum(codes.values()),
        dict(sorted(codes.items(), key=lambda item: (-item[1], item[0]))),
        list(longest.order_by("queued_at", "pk")[:_LONGEST]),
    )
