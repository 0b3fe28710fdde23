"""Several clusters on one engine, each in a namespace of its own and with other nodes.

A node belongs to at most one of them. Where the node selectors of several match a node, it stays
with the cluster that had it first, until nothing of that cluster is on it. Each change of the nodes
is made under the engine's lock, so that two clusters never take the same node at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from clusters.drivers.base import NodeReport, Probe
from clusters.drivers.kinds import Kind
from clusters.models import Connection, Node
from clusters.wakeups import request_reconcile
from hypervisor.base.errors import Conflict
from hypervisor.base.locks import lock_name

UNSELECTED = "The node selector of the connection does not match it any more."
"""The engine's message of a node that its cluster still has, but does not select any more."""

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Share:
    """The reports that a cluster may use, and a warning for each node that another cluster has."""

    reports: Sequence[NodeReport]
    warnings: Sequence[str] = ()


def lock(engine_id: str) -> None:
    """Let no other transaction change whose the engine's nodes are, until this one ends."""
    lock_name(f"clusters.engine:{engine_id}")


def share_of(row: Connection, reports: Sequence[NodeReport], *, is_new: bool = False) -> Share:
    """Return which of the reported nodes the connection's cluster may use.

    A connection without a node selector is the only one of its engine. `is_new` is whether the
    cluster's present nodes are not yet those of this engine.
    """
    held = {node.name: node for node in _nodes_of_others(row)} if row.node_selector else {}
    if not held:
        return Share(reports)
    there = Node.objects.none() if is_new else Node.objects.filter(cluster=row.cluster_id)
    own = set(there.filter(name__in=held).values_list("name", flat=True))
    mine = [report for report in reports if report.name not in held or report.name in own]
    contested = [report.name for report in reports if report.selected and report not in mine]
    return Share(mine, [_warning(held[name]) for name in contested])


def check(kind: Kind, row: Connection, found: Probe) -> None:
    """Raise Conflict unless `row`, with the route's values, may use the engine that was found."""
    others = _others(row, found.engine_id).select_related("cluster__organization", "node")
    for other in others:
        if not kind.has_namespaces:
            raise Conflict(_in_use(other))
        if why := _objection(row, found, other):
            raise Conflict(
                f"This {kind.title} cluster is already the engine of cluster {other.cluster} of"
                f" {other.cluster.organization}, in namespace {other.namespace}: {why}"
            )


def check_nodes(row: Connection, found: Probe) -> None:
    """Raise Conflict if the connection's node selector matches nodes of another cluster."""
    selected = {report.name for report in found.nodes or () if report.selected}
    there = _nodes_of_others(row, found.engine_id).filter(name__in=selected)
    taken = list(there.exclude(engine_message=UNSELECTED).order_by("name"))
    if taken:
        names = ", ".join(node.name for node in taken[:_NAMED])
        more = f" and {len(taken) - _NAMED} more" if taken[_NAMED:] else ""
        raise Conflict(
            f"The node selector {', '.join(row.node_selector)} also matches nodes of cluster"
            f" {taken[0].cluster}: {names}{more}. Choose labels that no node of both has."
        )


def wake_others(row: Connection | None) -> None:
    """Request a reconcile of the other clusters, which may take nodes that have left this one."""
    if row and row.node_selector:
        for other in _others(row, row.engine_id):
            request_reconcile(other.cluster_id)


def _others(row: Connection, engine_id: str) -> QuerySet[Connection]:
    return Connection.objects.filter(engine_id=engine_id).exclude(pk=row.pk).order_by("pk")


def _nodes_of_others(row: Connection, engine_id: str = "") -> QuerySet[Node]:
    others = _others(row, engine_id or row.engine_id).filter(reports_nodes=True)
    return Node.objects.filter(cluster__in=others.values("cluster")).select_related("cluster")


def _objection(row: Connection, found: Probe, other: Connection) -> str:
    if row.namespace == other.namespace:
        return "choose another namespace, share that cluster, or disconnect it first."
    if not row.node_selector:
        return (
            "without a node selector, this connection would use the same nodes. Give it one that"
            " matches other nodes."
        )
    if not other.node_selector:
        return (
            "that connection has no node selector, so it uses all nodes. Connect that cluster again"
            " with one first."
        )
    if found.nodes is None or not other.reports_nodes:
        return (
            "nodes can be shared out only if the service accounts of both may list them. Grant the"
            " ClusterRole in docs/operating.md to both."
        )
    return ""


def _in_use(other: Connection) -> str:
    of = f"cluster {other.cluster}"
    if other.node and other.cluster.nodes.count() > 1:
        of = f"node {other.node} of {of}"
    return (
        f"This engine is already connected to {of} of {other.cluster.organization}, and an engine"
        " can serve only one cluster, as one of its nodes: share that cluster, or disconnect it"
        " first. (Two machines cloned from the same image may have the same engine id: give one of"
        " them a new id.)"
    )


def _warning(node: Node) -> str:
    if node.engine_message == UNSELECTED:
        return (
            f"Node {node.name} still belongs to cluster {node.cluster}, whose node selector does"
            " not match it any more: it joins this cluster when nothing of that one is on it."
        )
    return (
        f"Node {node.name} also matches the node selector of cluster {node.cluster}, which had it"
        " first, so this cluster does not use it: change its labels, or one of the selectors."
    )
