"""What the pages of one cluster share."""

from collections.abc import Sequence
from typing import ClassVar

from django.shortcuts import get_object_or_404
from django.urls import reverse

from clusters.models import Cluster
from clusters.node_views import NodeViewSet
from clusters.views import ClusterViewSet
from hypervisor.portal.bases import PortalPage
from orgs.models import Role
from orgs.permissions import require

STEER = ClusterViewSet.roles["cordon"]
RENAME = ClusterViewSet.roles["update"]
DELETE = ClusterViewSet.roles["destroy"]
DELETE_NODE = NodeViewSet.roles["destroy"]
"""The lowest roles that may add, cordon and drain clusters, and rename, delete them or nodes."""


class OfCluster(PortalPage):
    """A page of one cluster, for members whose role is at least `least`; 404 for others."""

    section = "organizations"
    least: ClassVar[Role] = Role.VIEWER
    cluster: Cluster
    role: Role

    def prepare(self) -> None:
        """Read the cluster. Raises Forbidden if the person's role is too low."""
        self.read(self.kwargs["pk"])

    def read(self, cluster_id: int) -> None:
        rows = Cluster.objects.visible_to(self.person).with_allocated()
        rows = rows.select_related("organization").prefetch_related("connections__node")
        self.cluster = get_object_or_404(rows, pk=cluster_id)
        self.role = require(self.person, self.cluster.organization_id, self.least)

    @property
    def back(self) -> str:
        return reverse("portal:cluster", args=[self.cluster.pk])

    def path_to(self, title: str) -> Sequence[tuple[str, str | None]]:
        """Return the breadcrumbs of a page of this title about the cluster."""
        organization = self.cluster.organization
        return (
            (organization.name, reverse("portal:organization", args=[organization.pk])),
            (self.cluster.name, self.back),
            (title, None),
        )
