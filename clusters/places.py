"""How the place of a deployment is named: `rack`, or `gpu-1 of rack` if the cluster has several
nodes.

The planner names places by the same rule (`Bin.label`), without the database.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from django.db.models import Exists, OuterRef

from clusters.models import Cluster, Node


class Placed(Protocol):
    """A row with a place, such as a deployment or a run."""

    @property
    def cluster_id(self) -> int | None: ...
    @property
    def node_id(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Places:
    """The names of clusters by id, and of the nodes of those that have several."""

    clusters: dict[int, str] = field(default_factory=dict)
    nodes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def named(cls, places: Iterable[tuple[int | None, int | None]]) -> "Places":
        """Read the names of these clusters and nodes, given by their ids."""
        at = list(places)
        if not at:
            return cls()
        others = Node.objects.filter(cluster=OuterRef("cluster")).exclude(pk=OuterRef("pk"))
        nodes = Node.objects.filter(Exists(others), pk__in={node for _, node in at if node})
        clusters = Cluster.objects.filter(pk__in={cluster for cluster, _ in at if cluster})
        return cls(dict(clusters.values_list("pk", "name")), dict(nodes.values_list("pk", "name")))

    @classmethod
    def of_rows(cls, rows: Iterable[Placed]) -> "Places":
        """Read the names of the places of these rows."""
        return cls.named((row.cluster_id, row.node_id) for row in rows)

    @classmethod
    def of_nodes(cls, nodes: Iterable[Node]) -> "Places":
        """Read the names of these nodes as places."""
        return cls.named((node.cluster_id, node.pk) for node in nodes)

    def name(self, cluster: int | None, node: int | None) -> str:
        """Return the place's name, "" for no cluster or one that does not exist any more."""
        known = self.clusters.get(cluster or 0, "")
        return f"{self.nodes[node]} of {known}" if node in self.nodes else known

    def of(self, row: Placed) -> str:
        return self.name(row.cluster_id, row.node_id)

    def of_node(self, node: Node) -> str:
        return self.name(node.cluster_id, node.pk)
