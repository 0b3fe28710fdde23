"""The capacity, the deployments and the totals of each organization.

Series are named by ids, because people may rename organizations and clusters at any time, and each
name would be a new series; two families have the present names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Min, Q
from prometheus_client.core import Metric

from clusters.models import DIMENSIONS, Connection
from deployments.choices import LIVE, Status
from deployments.models import Deployment
from hypervisor.metrics.families import Samples, Totals, counter, gauge, histogram, number
from orgs.models import Organization
from scheduling.models import Sample
from scheduling.monitoring import totals, usage
from scheduling.monitoring.usage import Usage

_UNITS = {"cpu_milli": ("cpu", "cores", 1e-3), "ram_mib": ("ram", "bytes", 2**20),
          "gpu": ("gpu", "devices", 1)}  # fmt: skip
"""By dimension: the name and the unit of the metric's label, and the factor to that unit."""

_CLUSTER = ("organization", "cluster")
_AMOUNT = (*_CLUSTER, "resource", "unit")
_NO_CODE = "unknown"


@dataclass(frozen=True, slots=True)
class Listed:
    """The organizations with their names, and the clusters, that are listed: the oldest ones."""

    organizations: dict[int, str]
    clusters: Sequence[Usage]
    unlisted_organizations: int
    unlisted_clusters: int


def listed(last: Sample | None) -> Listed:
    most = settings.METRICS_LIMIT
    names = dict(Organization.objects.order_by("pk").values_list("pk", "name")[:most])
    every = usage.read(last.reserved if last else {})
    shown = [row for row in every if row.organization_id in names][:most]
    unlisted = Organization.objects.filter(pk__gt=max(names, default=0)).count()
    return Listed(names, shown, unlisted, len(every) - len(shown))


def families(now: datetime, rows: Listed, counted: Totals) -> Iterator[Metric]:
    """Yield the figures of the listed organizations at `now`."""
    yield number(
        "hypervisor_unlisted_organizations",
        "Organizations beyond METRICS_LIMIT, whose figures are missing here.",
        rows.unlisted_organizations,
    )
    yield number(
        "hypervisor_unlisted_clusters",
        "Clusters beyond METRICS_LIMIT, whose figures are missing here.",
        rows.unlisted_clusters,
    )
    yield gauge(
        "hypervisor_organization_info",
        "The name of an organization.",
        ["organization", "name"],
        [(pair, 1) for pair in rows.organizations.items()],
    )
    yield from _supply(rows.clusters)
    yield from _demand(now, rows.organizations)
    yield from _counters(list(rows.organizations), counted)


def _supply(clusters: Sequence[Usage]) -> Iterator[Metric]:
    yield gauge(
        "hypervisor_cluster_info",
        "The name and the state of a cluster.",
        [*_CLUSTER, "name", "state"],
        [((c.organization_id, c.id, c.name, c.state), 1) for c in clusters],
    )
    meanings = {
        "capacity": "What a cluster has of a resource.",
        "allocated": "What the runs of a cluster request that may have a container.",
        "reserved": "What is kept for deployments that are about to start or have waited too long.",
        "free": "What is neither allocated nor reserved.",
    }
    for part, meaning in meanings.items():
        yield gauge(f"hypervisor_cluster_{part}", meaning, _AMOUNT, _amounts(clusters, part))
    yield gauge(
        "hypervisor_engines",
        "Connected engines of a cluster by whether they answer: in_contact or lost.",
        [*_CLUSTER, "contact"],
        _engines(clusters),
    )


def _amounts(clusters: Sequence[Usage], part: str) -> Samples:
    for cluster in clusters:
        for dimension, amount in zip(DIMENSIONS, getattr(cluster, part), strict=True):
            resource, unit, factor = _UNITS[dimension]
            yield (cluster.organization_id, cluster.id, resource, unit), amount * factor


def _engines(clusters: Sequence[Usage]) -> Samples:
    rows = Connection.objects.order_by().values_list("cluster")
    lost = Count("pk", filter=Q(lost_contact_at__isnull=False))
    found = {
        pk: (many - gone, gone) for pk, many, gone in rows.annotate(many=Count("pk"), lost=lost)
    }
    for cluster in clusters:
        for contact, many in zip(
            ("in_contact", "lost"), found.get(cluster.id, (0, 0)), strict=True
        ):
            yield (cluster.organization_id, cluster.id, contact), many


def _demand(now: datetime, organizations: dict[int, str]) -> Iterator[Metric]:
    rows = Deployment.objects.live().order_by().values_list("organization", "status", "status_code")
    statuses = {(pk, status): 0 for pk in organizations for status in LIVE}
    reasons: dict[tuple[int, str], int] = {}
    oldest: dict[tuple[int, str], float] = {}
    counts = rows.annotate(many=Count("pk"), oldest=Min("queued_at"))
    for pk, status, code, many, queued_at in counts:
        if pk not in organizations:
            continue
        statuses[pk, status] += many
        if status == Status.PENDING:
            reasons[pk, code or _NO_CODE] = many
            oldest[pk, code or _NO_CODE] = max((now - queued_at).total_seconds(), 0)
    yield gauge(
        "hypervisor_deployments",
        "Deployments that have not ended, by status.",
        ["organization", "status"],
        statuses.items(),
    )
    yield gauge(
        "hypervisor_pending_deployments",
        "Pending deployments by wait reason.",
        ["organization", "reason"],
        reasons.items(),
    )
    yield gauge(
        "hypervisor_oldest_pending_seconds",
        "How long the oldest of them has been in the queue.",
        ["organization", "reason"],
        oldest.items(),
    )


def _counters(organizations: Sequence[int], counted: Totals) -> Iterator[Metric]:
    def rows(name: str) -> Samples:
        for pk in organizations:
            for label in totals.LABELS[name]:
                yield ((pk, label) if label else (pk,)), counted[pk, name].get(label, 0)

    yield counter(
        "hypervisor_submissions",
        "Deployments that were submitted.",
        ["organization"],
        rows(totals.SUBMITTED),
    )
    yield counter(
        "hypervisor_runs",
        "Runs that ended, by outcome.",
        ["organization", "outcome"],
        rows(totals.RUNS),
    )
    yield counter(
        "hypervisor_lost_gpu_seconds",
        "Run time after the last checkpoint times GPUs, of runs that were interrupted, by outcome.",
        ["organization", "outcome"],
        rows(totals.LOST_GPU_S),
    )
    yield counter(
        "hypervisor_cycles",
        "Scheduling cycles by trigger.",
        ["organization", "trigger"],
        rows(totals.CYCLES),
    )
    yield histogram(
        "hypervisor_wait_seconds",
        "How long deployments waited until they were placed, since they were queued or evicted.",
        ["organization"],
        [([pk], totals.WAIT, counted[pk, totals.WAIT]) for pk in organizations],
    )
