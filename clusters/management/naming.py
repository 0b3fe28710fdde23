"""How commands name clusters, and whom the history names for what they do."""

from clusters.models import Cluster
from hypervisor.base.commands import named

ACTOR = "system:console"
"""Whoever may run commands on the service's machine."""


def cluster_named(text: str) -> Cluster:
    """Return the cluster with that id or name. Raises CommandError unless there is one."""
    clusters = Cluster.objects.select_related("organization").order_by("pk")
    return named(clusters, text, lambda cluster: f"{cluster.organization}, {cluster.state}")
