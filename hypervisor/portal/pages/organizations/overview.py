"""One organization at a glance: its clusters, and what of them is free."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments.models import Deployment
from hypervisor.portal.pages.organizations.base import OrganizationPage
from hypervisor.ui.charts import Bar
from hypervisor.ui.data.amounts import bars
from hypervisor.ui.data.gpu_models import own_models

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ClusterCard:
    cluster: Cluster
    bars: Sequence[Bar]


class OverviewPage(OrganizationPage):
    template_name = "portal/organizations/overview.html"
    tab = "overview"
    refresh_s = 10

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        organization = self.organization
        self.title = organization.name
        self.breadcrumbs = (
            ("Organizations", reverse("portal:organizations")),
            (organization.name, None),
        )
        clusters = Cluster.objects.with_allocated().filter(organization=organization)
        shown = clusters.prefetch_related("connections")[:_SHOWN]
        live = Deployment.objects.live().filter(organization=organization)
        return super().get_context_data(
            clusters=[
                ClusterCard(row, bars(Capacity.of(row), Capacity.allocated_on(row)))
                for row in shown
            ],
            cluster_count=organization.clusters.count(),
            gpu_models=own_models(organization),
            has_deployments=live.exists(),
            **kwargs,
        )
