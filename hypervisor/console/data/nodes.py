"""The nodes of a cluster with what is allocated on each, for the cluster's page."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count

from clusters.capacity import NOTHING, Capacity
from clusters.models import Cluster, Connection, Node
from deployments.models import OCCUPYING, Run
from hypervisor.console.charts import Bar
from hypervisor.console.data.amounts import bars
from hypervisor.console.data.cluster_data import Reservation
from hypervisor.console.data.gpus import Gpus, gpus_of
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
    gpus: Gpus
    deployments: int
    actions: list[Action]

    @property
    def labels(self) -> list[tuple[str, str]]:
        return sorted(self.node.labels.items())


def nodes_of(
    cluster: Cluster, reservations: Sequence[Reservation], may: Callable[[str], bool]
) -> list[NodeRow]:
    """Return the cluster's first nodes; `may` says whether the operator has a permission."""
    nodes = list(cluster.nodes.with_allocated()[:_SHOWN])
    there, runs, ids = _counts(cluster), _runs_with_gpus(nodes), _device_ids(cluster)
    reserved = {reservation.node: reservation for reservation in reservations}
    rows = []
    for node in nodes:
        capacity, allocated = Capacity.of(node), Capacity.allocated_on(node)
        reservation = reserved.get(node.pk)
        offered = [ACTIONS[name] for name in _OFFERED[Node.State(node.state)]]
        rows.append(
            NodeRow(
                node,
                bars(capacity, allocated, reservation.amounts if reservation else NOTHING),
                gpus_of(node.gpu, ids, runs[node.pk], reservation),
                there.get(node.pk, 0),
                [action for action in offered if may(action.permission)],
            )
        )
    return rows


def _counts(cluster: Cluster) -> dict[int | None, int]:
    rows = cluster.deployments.filter(status__in=OCCUPYING).order_by().values_list("node")
    return dict(rows.annotate(Count("pk")))


def _runs_with_gpus(nodes: Iterable[Node]) -> dict[int | None, list[Run]]:
    runs = Run.objects.unfinished().filter(node__in=nodes, gpu__gt=0)
    by_node = defaultdict(list)
    for run in runs.select_related("deployment"):
        by_node[run.node_id].append(run)
    return by_node


def _device_ids(cluster: Cluster) -> list[str]:
    """Return the ids of the engine's GPUs, if the hypervisor chooses among them."""
    connection: Connection | None = getattr(cluster, "connection", None)
    return connection.devices if connection else []
