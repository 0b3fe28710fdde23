"""What contact with the engines means for the states of nodes."""

from collections.abc import Iterable

from django.db import transaction

from clusters.drivers.base import NodeState
from clusters.models import Cluster, Connection, Node
from clusters.wakeups import request_cycle

NO_ENGINE = "No engine is connected to it: an operator has to connect one."


def cordon_unconnected(cluster: Cluster) -> None:
    """Keep deployments off those nodes of a locked cluster that have no engine, and only those.

    This matters only for kinds of which each node has an engine of its own.
    """
    if not cluster.kind.has_engine_per_node:
        return
    _bind(cluster)
    connected = Connection.objects.filter(cluster=cluster)
    if connected.filter(node=None).exists():
        return
    for node in cluster.nodes.filter(connection=None):
        _set(node, NodeState.CORDONED, NO_ENGINE)
    for node in cluster.nodes.filter(connection__in=connected, engine_message=NO_ENGINE):
        _set(node, NodeState.ACTIVE, "")


def forget_engines(cluster: Cluster) -> None:
    """Leave the nodes of a locked cluster to people, because it has no engine any more."""
    for node in cluster.nodes.exclude(engine_state=NodeState.ACTIVE):
        _set(node, NodeState.ACTIVE, "")


@transaction.atomic
def keep_contact(nodes: Iterable[Node], problem: str) -> None:
    """Record the problem of the engine of these nodes of one cluster, "" if it can be used."""
    state = NodeState.LOST if problem else NodeState.ACTIVE
    differing = [n for n in nodes if (n.engine_state, n.engine_message) != (state, problem)]
    if not differing:
        return
    cluster = Cluster.objects.get_locked(differing[0].cluster_id)
    rows = list(Node.objects.filter(pk__in=[node.pk for node in differing]).locked())
    changes = any(row.engine_state != state for row in rows)
    for row in rows:
        _set(row, state, problem)
    if changes:
        request_cycle(cluster.organization_id)


def _bind(cluster: Cluster) -> None:
    """Name the node of a connection that a former release made when the cluster had only one."""
    first = cluster.nodes.first()
    if first and cluster.nodes.count() > 1:
        Connection.objects.filter(cluster=cluster, node=None).update(node=first)


def _set(node: Node, state: NodeState, message: str) -> None:
    node.engine_state, node.engine_message = state, message
    node.refused_until, node.limits = None, {}
    node.settle()
    node.save(update_fields=["state", "engine_state", "engine_message", "refused_until", "limits"])
