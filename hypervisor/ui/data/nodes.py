"""The nodes of a cluster with what is allocated on each, for the cluster's page."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count

from clusters import node_rules
from clusters.capacity import NOTHING, Capacity
from clusters.models import Cluster, Node
from deployments.choices import OCCUPYING
from deployments.runtime.models import Run
from hypervisor.ui.charts import Bar
from hypervisor.ui.data.amounts import bars
from hypervisor.ui.data.cluster_data import Reservation
from hypervisor.ui.data.gpus import Gpus, gpus_of
from scheduling.insight.operator_actions import ACTIONS, Action

_SHOWN = 100
"""The number of nodes on the page; the list of nodes has all of them."""

_OFFERED = {
    Node.State.ACTIVE: ("cordon_node", "drain_node", "resize_node"),
    Node.State.CORDONED: ("uncordon_node", "drain_node", "resize_node"),
    Node.State.DRAINING: ("uncordon_node", "cordon_node", "resize_node"),
}
"""The actions by the state that people have chosen for the node."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node, its resources, the number of deployments there, and what may be done with it.

    `objections` are the reasons why the other actions on a node cannot be taken.
    """

    node: Node
    bars: list[Bar]
    gpus: Gpus
    deployments: int
    actions: list[Action]
    objections: list[str]

    @property
    def labels(self) -> list[tuple[str, str]]:
        return sorted(self.node.labels.items())


def nodes_of(
    cluster: Cluster, reservations: Sequence[Reservation], may: Callable[[Action], bool]
) -> list[NodeRow]:
    """Return the cluster's first nodes; `may` says whether the person may take an action."""
    nodes = list(cluster.nodes.with_allocated()[:_SHOWN])
    for node in nodes:
        node.cluster = cluster  # Saves a query for each node.
    there, runs = _counts(cluster), _runs_with_gpus(nodes)
    reserved = {reservation.node: reservation for reservation in reservations}
    rows = []
    for node in nodes:
        capacity, allocated = Capacity.of(node), Capacity.allocated_on(node)
        reservation = reserved.get(node.pk)
        actions, objections = _offered(node, may)
        rows.append(
            NodeRow(
                node,
                bars(capacity, allocated, reservation.amounts if reservation else NOTHING),
                gpus_of(node.gpu, _device_ids(cluster, node), runs[node.pk], reservation),
                there.get(node.pk, 0),
                actions,
                objections,
            )
        )
    return rows


def _offered(node: Node, may: Callable[[Action], bool]) -> tuple[list[Action], list[str]]:
    """Return the actions that can be taken, and the reasons why the others cannot.

    Without the reason that applies to every node of the cluster, which the page shows once.
    """
    wanted = [ACTIONS[name] for name in _OFFERED[Node.State(node.chosen_state)]]
    allowed = [action for action in wanted if may(action)]
    why = [action.objection(node) for action in allowed]
    possible = [action for action, objection in zip(allowed, why, strict=True) if not objection]
    common = ("", node_rules.changing(node.cluster))
    giving_up = ACTIONS["declare_node_lost"]
    if may(giving_up) and not giving_up.objection(node):
        possible.append(giving_up)
    return possible, [each for each in dict.fromkeys(why) if each not in common]


def _counts(cluster: Cluster) -> dict[int | None, int]:
    rows = cluster.deployments.filter(status__in=OCCUPYING).order_by().values_list("node")
    return dict(rows.annotate(Count("pk")))


def _runs_with_gpus(nodes: Iterable[Node]) -> dict[int | None, list[Run]]:
    runs = Run.objects.unfinished().filter(node__in=nodes, gpu__gt=0)
    by_node = defaultdict(list)
    for run in runs.select_related("deployment"):
        by_node[run.node_id].append(run)
    return by_node


def _device_ids(cluster: Cluster, node: Node) -> list[str]:
    """Return the ids of the GPUs of the node's engine, if the hypervisor chooses among them."""
    connection = cluster.connection_of(node.pk)
    return connection.devices if connection else []
