"""What can be done with the nodes of a cluster at present.

Each function returns the reason why something cannot be done, or "" if it can. The services refuse
for these reasons, and the pages do not offer what would be refused.
"""

from clusters.models import Cluster, Connection, Node


def changing(cluster: Cluster) -> str:
    """Return why people cannot add, change or delete nodes of the cluster."""
    if not cluster.reports_nodes:
        return ""
    return (
        f"The nodes of cluster {cluster.name} are those of its engine ({cluster.kind.title}):"
        " change them there. Here you can cordon, uncordon and drain them."
    )


def adding(cluster: Cluster, count: int = 1) -> str:
    """Return why this many nodes cannot be added, as far as the engine is concerned."""
    if why := changing(cluster):
        return why
    if cluster.nodes.count() + count == 1 or cluster.kind.has_several_nodes:
        return ""
    return (
        f"Cluster {cluster.name} is connected to an engine ({cluster.kind.title}), and such a"
        " cluster has exactly one node: create another cluster for the other machine."
    )


def deleting(node: Node) -> str:
    if why := changing(node.cluster):
        return why
    if Connection.objects.filter(node=node).exists() and node.cluster.nodes.count() > 1:
        return f"Node {node.name} is connected to an engine: disconnect it first."
    if node.cluster.nodes.count() > 1:
        return ""
    return (
        f"Node {node.name} is the only one of cluster {node.cluster.name}: add another node first,"
        " or delete the cluster."
    )


def resizing(node: Node) -> str:
    return changing(node.cluster)


def resizing_cluster(cluster: Cluster) -> str:
    """Return why the cluster cannot be resized as a whole."""
    if why := changing(cluster):
        return why
    if cluster.nodes.count() == 1:
        return ""
    return (
        f"Cluster {cluster.name} has several nodes, and its capacity is their sum: resize a node"
        " instead."
    )


def cordoning(node: Node) -> str:
    """Return why the node can be neither cordoned nor drained."""
    if node.state != Node.State.LOST:
        return ""
    return (
        f"Node {node.name} is lost, because there is no contact with it. Its state changes when the"
        " node answers again."
    )


def uncordoning(node: Node) -> str:
    if why := cordoning(node):
        return why
    if node.engine_state != Node.State.CORDONED:
        return ""
    return (
        f"Node {node.name} is cordoned by its engine: {node.engine_message} Its state changes when"
        " the engine takes containers again."
    )
