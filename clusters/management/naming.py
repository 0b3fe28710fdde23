"""Find clusters by the names that commands accept, and name the actor of commands."""

from clusters.models import Cluster
from hypervisor.base.commands import named

ACTOR = "system:console"
"""The actor of changes that are made by a command on the service's machine."""


def cluster_named(text: str) -> Cluster:
    """Return the one cluster with this id or name. Raises CommandError otherwise."""
    clusters = Cluster.objects.select_related("organization").order_by("pk")
    return named(clusters, text, lambda cluster: f"{cluster.organization}, {cluster.state}")
