"""The page between an action on a cluster or a node and its confirmation."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import reverse

from clusters.models import Cluster, Node
from clusters.node_views import NodeViewSet
from clusters.views import ClusterViewSet
from hypervisor.portal.bases import PortalPage
from hypervisor.ui.previews import PreviewMixin
from orgs.models import Role
from orgs.permissions import require
from scheduling.insight.operator_actions import ACTIONS

NEEDED: Mapping[str, Role] = MappingProxyType(
    {
        "cordon": ClusterViewSet.roles["cordon"],
        "uncordon": ClusterViewSet.roles["uncordon"],
        "drain": ClusterViewSet.roles["drain"],
        "resize": ClusterViewSet.roles["update"],
        "cordon_node": NodeViewSet.roles["cordon"],
        "uncordon_node": NodeViewSet.roles["uncordon"],
        "drain_node": NodeViewSet.roles["drain"],
        "resize_node": NodeViewSet.roles["update"],
    }
)
"""The members' actions, each with the lowest role; all others are for operators."""

OFFERED = {
    Cluster.State.ACTIVE: ("cordon", "drain", "resize"),
    Cluster.State.CORDONED: ("uncordon", "drain", "resize"),
    Cluster.State.DRAINING: ("uncordon", "cordon", "resize"),
}
"""The actions by the state of a cluster."""


class _SteeringPage(PreviewMixin, PortalPage):
    section = "organizations"
    template_name = "portal/clusters/steering.html"
    model: type[Cluster] | type[Node]

    def prepare(self) -> None:
        """Read the cluster or node. Raises Forbidden if the role does not allow the action."""
        action = ACTIONS.get(self.kwargs["action"])
        if action is None or action.name not in NEEDED or action.model is not self.model:
            raise Http404
        rows = self.model.objects.visible_to(self.person)
        row: Any = get_object_or_404(rows, pk=self.kwargs["pk"])
        self.cluster = row.cluster if isinstance(row, Node) else row
        require(self.person, self.cluster.organization_id, NEEDED[action.name])
        self.action, self.rows, self.subjects = action, [row], [row.pk]
        self.title = f"{action.label}: {row.name}"
        organization = self.cluster.organization
        self.breadcrumbs = (
            ("Organizations", reverse("portal:organizations")),
            (organization.name, reverse("portal:organization", args=[organization.pk])),
            (self.cluster.name, self.way_back()),
            (action.label, None),
        )

    def way_back(self) -> str:
        return reverse("portal:cluster", args=[self.cluster.pk])


class SteerClusterPage(_SteeringPage):
    model = Cluster


class SteerNodePage(_SteeringPage):
    model = Node
