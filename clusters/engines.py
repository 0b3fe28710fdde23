"""The engines of clusters.

An engine runs the containers of all nodes of its cluster, or those of one node. Contact, locks,
markers, devices and containers are each those of an engine. A simulated cluster has one engine,
which needs no connection.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q

from clusters.models import Cluster, Connection, Node
from clusters.places import Places
from clusters.wakeups import RECONCILE, Wakeup
from hypervisor.base.errors import Invalid
from hypervisor.base.names import listed

_NAMED = 10
"""The most nodes that an error names."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine that a connection reaches.

    `connection` is None for a simulated engine, and if nothing is connected.
    """

    cluster: Cluster
    connection: Connection | None = None

    @property
    def node(self) -> Node | None:
        """The node whose containers it runs, None if it runs those of all nodes."""
        return self.connection.node if self.connection else None

    @property
    def nodes(self) -> Sequence[Node]:
        """The nodes whose containers it runs, as they are now."""
        nodes = self.cluster.nodes.all()
        return list(nodes.filter(pk=self.node.pk) if self.node else nodes)

    @property
    def devices(self) -> Sequence[str]:
        """The ids of its GPUs, if the reconciler chooses among them."""
        return self.connection.devices if self.connection else ()

    @property
    def placed(self) -> Q:
        """The condition for runs and deployments that are placed on its nodes."""
        return Q(cluster=self.cluster, node=self.node) if self.node else Q(cluster=self.cluster)

    @property
    def connected(self) -> Q:
        """The condition for the row of its connection, as it is now; true for none without one."""
        return Q(pk=self.connection.pk if self.connection else None)

    @property
    def is_only(self) -> bool:
        """Whether the cluster has no other engine."""
        others = Connection.objects.filter(cluster=self.cluster).exclude(self.connected)
        return not others.exists()

    @property
    def wakeup(self) -> Wakeup:
        """The request for a reconcile of this engine."""
        return self.connection.wakeup if self.connection else (RECONCILE, self.cluster.pk)

    def refreshed(self) -> "Engine | None":
        """Return the engine as it is now, None if its cluster or its connection was deleted."""
        if self.connection is not None:
            return get(self.connection.pk)
        cluster = Cluster.objects.filter(pk=self.cluster.pk).first()
        return of_cluster(cluster)[0] if cluster else None

    @property
    def where(self) -> str:
        """Return `gpu-1 of rack`, or `rack` if it runs all containers of rack."""
        return Places.of_nodes([self.node]).of_node(self.node) if self.node else self.cluster.name

    @property
    def unit(self) -> str:
        """Return the word for its nodes: `node`, or `cluster` if they are all nodes of one."""
        return "cluster" if self.where == self.cluster.name else "node"

    @property
    def called(self) -> str:
        """Return the words for its nodes at the start of a sentence: `Node gpu-1 of rack`."""
        return f"{self.unit.capitalize()} {self.where}"

    @property
    def facts(self) -> dict[str, int]:
        """The part of an event's data that says which engine it is about."""
        return {"cluster": self.cluster.pk, **self.facts_within}

    @property
    def facts_within(self) -> dict[str, int]:
        """The part of an event's data that says which engine of its cluster it is about."""
        return {"node": self.node.pk} if self.node else {}


def of_cluster(cluster: Cluster) -> list[Engine]:
    """Return the cluster's engines, at least one; it may have no connection."""
    rows = Connection.objects.filter(cluster=cluster).select_related("node")
    return [_engine(cluster, row) for row in rows] or [Engine(cluster)]


def of_node(cluster: Cluster, node_id: int | None) -> Engine:
    """Return the engine that runs the containers of a node; it may have no connection."""
    rows = Connection.objects.filter(cluster=cluster).select_related("node")
    row = rows.filter(Q(node=None) | Q(node=node_id)).first()
    return _engine(cluster, row) if row else Engine(cluster)


def get(connection_id: int) -> Engine | None:
    """Return the engine of a connection, None if the connection no longer exists."""
    rows = Connection.objects.select_related("cluster", "node")
    row = rows.filter(pk=connection_id).first()
    return _engine(row.cluster, row) if row else None


def named(cluster: Cluster, node: str | None) -> Engine:
    """Return the engine of the node of that name, or with None the cluster's only engine.

    Raises Invalid if it is not clear which engine is meant.
    """
    engines = of_cluster(cluster)
    if node is None and len(engines) == 1:
        return engines[0]
    by_name = {engine.node.name: engine for engine in engines if engine.node}
    if node is not None and node in by_name:
        return by_name[node]
    if not by_name:
        raise Invalid(
            f"Cluster {cluster.name} has no engine of a single node: omit the node.", attr="node"
        )
    wrong = "has an engine for each node" if node is None else f"has no engine for node {node}"
    raise Invalid(
        f"Cluster {cluster.name} {wrong}: name one of the nodes {_listed(by_name)}.", attr="node"
    )


def node_named(cluster: Cluster, name: str) -> Node:
    """Return a node of the cluster. Raises Invalid if there is none of that name."""
    nodes = {node.name: node for node in cluster.nodes.all()}
    if name not in nodes:
        raise Invalid(
            f"Cluster {cluster.name} has no node {name}: name one of {_listed(nodes)}, or add it"
            " first.",
            attr="node",
        )
    return nodes[name]


def only_node(cluster: Cluster) -> Node:
    """Return the cluster's only node. Raises Invalid if it has several."""
    nodes = list(cluster.nodes.all()[: _NAMED + 1])
    if len(nodes) > 1:
        raise Invalid(
            f"Cluster {cluster.name} has several nodes, and each has an engine of its own: name one"
            f" of {_listed([node.name for node in nodes])}.",
            attr="node",
        )
    return nodes[0]


def _listed(names: Iterable[str]) -> str:
    return listed(sorted(names), _NAMED)


def _engine(cluster: Cluster, row: Connection) -> Engine:
    row.cluster = cluster
    if row.node:
        row.node.cluster = cluster
    return Engine(cluster, row)
