"""The names of the places where deployments are or would be."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Exists, OuterRef

from clusters.models import Cluster, Node


@dataclass(frozen=True, slots=True)
class Places:
    """The names of clusters by id, and of the nodes of those that have several."""

    clusters: dict[int, str] = field(default_factory=dict)
    nodes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def named(cls, places: Iterable[tuple[int | None, int | None]]) -> "Places":
        """Read the names of these clusters and nodes, given by their ids."""
        at = list(places)
        others = Node.objects.filter(cluster=OuterRef("cluster")).exclude(pk=OuterRef("pk"))
        nodes = Node.objects.filter(Exists(others), pk__in={node for _, node in at})
        clusters = Cluster.objects.filter(pk__in={cluster for cluster, _ in at})
        return cls(dict(clusters.values_list("pk", "name")), dict(nodes.values_list("pk", "name")))

    def name(self, cluster: int | None, node: int | None) -> str:
        """Return `rack`, or `gpu-1 of rack` if the cluster has several nodes; "" for no cluster."""
        known = self.clusters.get(cluster or 0, "")
        return f"{self.nodes[node]} of {known}" if node in self.nodes else known
