"""What the apps further left need from deployments without importing them.

`DeploymentsConfig.ready` registers these functions.
"""

from collections.abc import Mapping

from django.db.models import Q, QuerySet, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from clusters.models import DIMENSIONS, Cluster, Node
from clusters.places import Places
from deployments.choices import ACTIVE, OCCUPYING, Status
from deployments.models import Array, Deployment
from deployments.runtime.models import Run
from hypervisor.base.errors import Conflict
from hypervisor.base.names import listed
from orgs.models import Organization

_NAMED = 5
"""The most deployments that an error names."""


class DemandOnClusters:
    """The implementation of the protocol in `clusters.demand`."""

    def allocated(self) -> Mapping[str, Combinable]:
        active = Q(deployments__status__in=ACTIVE)
        return {
            name: Coalesce(Sum(f"deployments__{name}", filter=active), 0) for name in DIMENSIONS
        }

    def check_idle(self, cluster: Cluster, node: Node | None = None) -> None:
        runs = Run.objects.unfinished().filter(cluster=cluster)
        if count := (runs.filter(node=node) if node else runs).count():
            subject = Places.of_nodes([node]).of_node(node) if node else cluster.name
            raise Conflict(
                f"{subject} has {count} runs on its present engine: drain it, wait until it is"
                " empty, then try again."
            )

    def before_deletion(self, cluster: Cluster) -> None:
        count = Deployment.objects.filter(cluster=cluster, status__in=OCCUPYING).count()
        if count:
            raise Conflict(
                f"Cluster {cluster.name} has {count} deployments on it: drain it or stop them"
                " first."
            )
        # A run without a cluster would never end, and its deployment could never start again.
        _check_stopped(f"Cluster {cluster.name}", Run.objects.unfinished().filter(cluster=cluster))
        asking = Deployment.objects.filter(requested_cluster=cluster)
        if waiting := asking.filter(status=Status.PENDING).values_list("pk", flat=True).first():
            raise Conflict(
                f"Deployment {waiting} waits for cluster {cluster.name} and no other: cancel it or"
                " change its `requested_cluster` first."
            )
        # Deleting the cluster sets their reference to null, which would lock the rows in any order.
        list(asking.locked().values("pk"))

    def before_node_deletion(self, node: Node) -> None:
        there = Deployment.objects.filter(node=node, status__in=OCCUPYING).order_by("pk")
        if names := [str(row) for row in there[: _NAMED + 1]]:
            raise Conflict(
                f"Node {node.name} is not empty: {listed(names, _NAMED)}. Drain it, and delete it"
                " when nothing runs there any more."
            )
        _check_stopped(f"Node {node.name}", Run.objects.unfinished().filter(node=node))
        # Deleting the node sets their reference to null, which would lock the rows in any order.
        list(Run.objects.filter(node=node).locked().values_list("pk"))


def _check_stopped(called: str, unfinished: QuerySet[Run]) -> None:
    if stopping := unfinished.count():
        raise Conflict(
            f"{called} has {stopping} containers that are still stopping: try again when they have"
            " ended."
        )


def before_deletion(organization: Organization) -> None:
    """Lock the organization's arrays and deployments.

    Raises Conflict while a deployment is on a cluster.
    """
    rows = Deployment.objects.filter(organization=organization)
    list(Array.objects.filter(organization=organization).locked(for_deletion=True).values("pk"))
    list(rows.locked(for_deletion=True).values_list("pk"))
    if count := rows.filter(status__in=OCCUPYING).count():
        raise Conflict(
            f"Organization {organization.name} has active deployments ({count}): stop them, wait"
            " until they have ended, then delete it."
        )
