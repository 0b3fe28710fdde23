"""The page of one organization: its clusters, deployments, members and latest events."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils import timezone

from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.charts import Bar
from hypervisor.ui.data.amounts import bars
from orgs.models import Event, Membership, Organization
from scheduling.models import SchedulingCycle
from scheduling.monitoring import idle

_EVENTS_SHOWN = 15
_MEMBERS_SHOWN = 100
_CLUSTERS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ClusterRow:
    cluster: Cluster
    bars: Sequence[Bar]


class OrganizationPage(TopLevelPage):
    template_name = "console/organization.html"
    organization: Any = None

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request, self.organization))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        organization: Organization = self.organization
        self.title = f"Organization {organization.name}"
        self.breadcrumbs = [
            ("Organizations", reverse("admin:orgs_organization_changelist")),
            (organization.name, None),
        ]
        now = timezone.now()
        clusters = Cluster.objects.with_allocated().filter(organization=organization)
        members = organization.memberships.select_related("user")
        return super().get_context_data(
            organization=organization,
            counts=_counts(organization),
            clusters=[
                ClusterRow(row, bars(Capacity.of(row), Capacity.allocated_on(row)))
                for row in clusters[:_CLUSTERS_SHOWN]
            ],
            cluster_count=organization.clusters.count(),
            idle=idle.share(now - idle.SPAN, now, organization=organization.pk),
            departed=Deployment.objects.live()
            .of_departed()
            .filter(organization=organization)
            .count(),
            members=sorted(members[:_MEMBERS_SHOWN], key=_by_role),
            member_count=members.count(),
            queue_link=f"{reverse('queue')}?organization={organization.pk}",
            **_last_cycle(organization),
            events=Event.objects.filter(organization=organization).order_by("-pk")[:_EVENTS_SHOWN],
            may_edit=self.model_admin.has_change_permission(self.request, organization),
            may_delete=self.model_admin.has_delete_permission(self.request, organization),
            may_run=self.request.user.has_perm("scheduling.run_schedulingcycle"),
            **kwargs,
        )


def _counts(organization: Organization) -> dict[str, int]:
    """Count the deployments that have not ended by status, with those on hold separately."""
    rows = Deployment.objects.live().filter(organization=organization).order_by()
    counts: Counter[str] = Counter()
    for status, held, count in rows.values_list("status", "held").annotate(Count("pk")):
        counts["held" if held and status == Status.PENDING else str(status)] += count
    return {name: counts[name] for name in ("running", "starting", "pending", "held", "stopping")}


def _last_cycle(organization: Organization) -> dict[str, Any]:
    cycles = SchedulingCycle.objects.filter(organization=organization).defer("record")
    cycle = cycles.order_by("-pk").first()
    if cycle is None:
        return {"cycle": None}
    return {
        "cycle": cycle,
        "cycle_did": f"{cycle.placed} placed, {cycle.evicted} evicted, {cycle.moved} moved",
        "cycle_link": reverse("admin:scheduling_schedulingcycle_change", args=[cycle.pk]),
    }


def _by_role(member: Membership) -> tuple[int, str]:
    roles = ("owner", "admin", "developer", "viewer")
    return roles.index(member.role), member.user.username
