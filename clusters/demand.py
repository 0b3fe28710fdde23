"""Questions about the deployments on clusters.

The app that owns deployments registers the answers when it starts, because this app is further left
and cannot import it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from django.db.models.expressions import Combinable

if TYPE_CHECKING:
    from clusters.models import Cluster, Node


class Demand(Protocol):
    def allocated(self) -> Mapping[str, Combinable]:
        """Return, by dimension, the sum over the active deployments of a row.

        The row is one of Cluster or of Node.
        """

    def check_idle(self, cluster: "Cluster", node: "Node | None" = None) -> None:
        """Raise Conflict while a run on the cluster, or on this node of it, has not ended."""

    def before_deletion(self, cluster: "Cluster") -> None:
        """Lock the deployments that refer to the cluster.

        Raises Conflict while deployments or containers are on it, or a pending deployment may run
        nowhere else.
        """

    def before_node_deletion(self, node: "Node") -> None:
        """Raise Conflict while deployments or containers are on the node."""


_registered: list[Demand] = []


def register(demand: Demand) -> None:
    _registered[:] = [demand]


def demand() -> Demand:
    return _registered[0]
