"""The nodes of a cluster with what is allocated on each, for the cluster's page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db.models import Count

from clusters.capacity import NOTHING, Capacity
from clusters.models import Cluster, Node
from deployments.models import OCCUPYING
from hypervisor.console.charts import Bar
from hypervisor.console.data.amounts import bars
from hypervisor.console.data.cluster_data import Reservation
from scheduling.insight.operator_actions import ACTIONS, Action

_SHOWN = 100
"""The number of nodes on the page; the list of nodes has all of them."""

_OFFERED = {
    Node.State.ACTIVE: ("cordon_node", "drain_node", "resize_node"),
    Node.State.CORDONED: ("uncordon_node", "drain_node", "resize_node"),
    Node.State.DRAINING: ("uncordon_node", "cordon_node", "resize_node"),
    Node.State.LOST: (),
}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node, its resources, the number of deployments there, and what may be done with it."""

    node: Node
    bars: list[Bar]
    deployments: int
    actions: list[Action]

    @property
    def labels(self) -> list[tuple[str, str]]:
        return sorted(self.node.labels.items())


def nodes_of(
    cluster: Cluster, reservations: Sequence[Reservation], may: Callable[[str], bool]
) -> list[NodeRow]:
    """Return the cluster's first nodes; `may` says whether the operator has a permission."""
    there = _counts(cluster)
    reserved = {reservation.node: reservation.amounts for reservation in reservations}
    rows = []
    for node in cluster.nodes.with_allocated()[:_SHOWN]:
        capacity, allocated = Capacity.of(node), Capacity.allocated_on(node)
        offered = [ACTIONS[name] for name in _OFFERED[Node.State(node.state)]]
        rows.append(
            NodeRow(
                node,
                bars(capacity, allocated, reserved.get(node.pk, NOTHING)),
                there.get(node.pk, 0),
                [action for action in offered if may(action.permission)],
            )
        )
    return rows


def _counts(cluster: Cluster) -> dict[int | None, int]:
    rows = cluster.deployments.filter(status__in=OCCUPYING).order_by().values_list("node")
    return dict(rows.annotate(Count("pk")))
