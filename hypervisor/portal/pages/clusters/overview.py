"""One cluster as a member sees it: its nodes, and what runs there."""

from typing import Any

from django.urls import reverse
from django.utils import timezone

from clusters import node_rules
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments.choices import OCCUPYING
from hypervisor.portal.pages.clusters.base import DELETE, DELETE_NODE, RENAME, STEER, OfCluster
from hypervisor.portal.pages.clusters.steering import NEEDED, OFFERED
from hypervisor.ui.data.amounts import bars
from hypervisor.ui.data.cluster_data import drain_of, reservations_on, waits_on
from hypervisor.ui.data.nodes import nodes_of
from scheduling.insight.operator_actions import ACTIONS, Action

_SHOWN = 100


class ClusterPage(OfCluster):
    template_name = "portal/clusters/cluster.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cluster, now = self.cluster, timezone.now()
        organization = cluster.organization
        self.title = cluster.name
        self.breadcrumbs = (
            ("Organizations", reverse("portal:organizations")),
            (organization.name, reverse("portal:organization", args=[organization.pk])),
            (cluster.name, None),
        )
        reservations = reservations_on(cluster, waits_on(cluster, now))
        there = cluster.deployments.filter(status__in=OCCUPYING).select_related(
            "node", "created_by"
        )
        return super().get_context_data(
            cluster=cluster,
            bars=bars(
                Capacity.of(cluster),
                Capacity.allocated_on(cluster),
                Capacity.total(reservation.amounts for reservation in reservations),
            ),
            nodes=nodes_of(cluster, reservations, self._may),
            node_count=cluster.nodes.count(),
            drain=drain_of(cluster),
            silent=[row for row in cluster.connections.all() if row.lost_contact_at],
            reservations=reservations,
            deployments=list(there.order_by("-priority", "pk")[:_SHOWN]),
            deployment_count=there.count(),
            may_delete=self.role.rank >= DELETE.rank,
            may_rename=self.role.rank >= RENAME.rank,
            may_delete_nodes=self._may_delete_nodes(),
            may_add_nodes=self.role.rank >= STEER.rank and not node_rules.adding(cluster),
            steps=self._steps(),
            **kwargs,
        )

    def _steps(self) -> list[Action]:
        """Return the actions that the person may take on the cluster in its present state."""
        offered = map(ACTIONS.__getitem__, OFFERED[Cluster.State(self.cluster.state)])
        return [each for each in offered if self._may(each) and not each.objection(self.cluster)]

    def _may_delete_nodes(self) -> bool:
        """Return whether the person may delete nodes, unless something about one forbids it."""
        cluster = self.cluster
        possible = cluster.nodes.count() > 1 and not node_rules.changing(cluster)
        return possible and self.role.rank >= DELETE_NODE.rank

    def _may(self, action: Action) -> bool:
        least = NEEDED.get(action.name)
        return least is not None and self.role.rank >= least.rank
