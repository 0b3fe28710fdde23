"""An operator's move of a deployment to another cluster or node."""

from collections.abc import Iterable
from dataclasses import replace

from django.db import transaction
from django.utils import timezone

from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.places import Places
from clusters.resources import describe
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle, services
from deployments.choices import ACTIVE, Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.requirements import satisfied
from deployments.runtime.lost_contact import is_without_contact
from deployments.specs import Spec, check_capacity
from hypervisor.base.errors import Conflict, NotFound


@transaction.atomic
def move(deployment: Deployment, *, actor: str, target: Cluster | Node | None = None) -> Deployment:
    """Bind a deployment to the target cluster; with None, move it to any other cluster, unbound.

    An active deployment moves at once if the free capacity suffices. Otherwise it is requeued for
    the target cluster: the next cycle preempts lower deployments there, or it waits. With a node,
    it moves there at once, unbound, or not at all. A pending deployment competes for the target
    cluster from then on. The clusters are locked first, because a move allocates capacity.

    Raises Conflict if the deployment has ended or is there already, or if no other cluster or not
    the node has enough free capacity; Invalid if the target could never hold it; NotFound if there
    is no such cluster or node in its organization.
    """
    if _status(deployment) == Status.PENDING:
        if isinstance(target, Node):
            raise Conflict(
                f"Deployment {deployment.pk} is pending, and only an active one can be moved to a"
                " node: name a cluster, or have it require a label of the node."
            )
        return _rebind(deployment, actor, target)
    nodes = _locked_nodes(deployment.organization_id)
    row = Deployment.objects.get_locked(deployment.pk)
    if row.status not in ACTIVE:
        raise Conflict(
            f"Deployment {row.pk} is {row.status}; only a pending, starting or running deployment"
            " can be moved: start it again once it has ended, then move it."
        )
    if isinstance(target, Node):
        return _relocate(row, actor, _checked(row, nodes, target), bound=False)
    destination = _destination(row, nodes, target)
    if destination is None:
        return _requeue(row, actor, target)
    _bind(row, target.pk if target else None)
    return _relocate(row, actor, destination, bound=target is not None)


def _status(deployment: Deployment) -> str | None:
    rows = Deployment.objects.filter(pk=deployment.pk)
    return rows.values_list("status", flat=True).first()


def _locked_nodes(organization_id: int) -> list[Node]:
    """Lock the organization's clusters in the order of their ids; return their nodes."""
    list(Cluster.objects.filter(organization_id=organization_id).locked().values_list("pk"))
    nodes = Node.objects.filter(cluster__organization_id=organization_id)
    rows = nodes.select_related("cluster").prefetch_related("cluster__connections")
    return list(rows.with_allocated())


def _rebind(deployment: Deployment, actor: str, target: Cluster | None) -> Deployment:
    spec = Spec.of(deployment)
    if spec.requested_cluster == target:
        where = f"already waits for {target.name}" if target else "may already run on any cluster"
        raise Conflict(f"Deployment {deployment.pk} is pending and {where}: name another cluster.")
    return services.update(deployment, actor=actor, spec=replace(spec, requested_cluster=target))


def _destination(row: Deployment, nodes: Iterable[Node], target: Cluster | None) -> Node | None:
    """Return the node to move to, None if the target has too little free capacity on each.

    Of several, the tightest fit wins, by GPU, then RAM, then CPU, so that large free amounts stay
    whole.
    """
    if target is not None and target.pk == row.cluster_id:
        raise Conflict(f"Deployment {row.pk} is already on {target.name}: name another cluster.")
    wanted = [n for n in nodes if n.cluster_id != row.cluster_id]
    if target is not None:
        wanted = [n for n in wanted if n.cluster_id == target.pk]
    fitting = [node for node in wanted if _fits(row, node)]
    if not fitting and target is None:
        request = describe(row.cpu_milli, row.ram_mib, row.gpu)
        raise Conflict(
            f"Deployment {row.pk} needs {request}, and no other cluster has that free: name a"
            " cluster, on which lower deployments may then be preempted, or requeue it."
        )
    return min(fitting, key=_tightness, default=None)


def _checked(row: Deployment, nodes: Iterable[Node], target: Node) -> Node:
    """Return the locked target. Raises Conflict unless the deployment can move there now."""
    node = next((node for node in nodes if node.pk == target.pk), None)
    if node is None:
        raise NotFound("There is no such node in its organization: name another node.")
    if node.pk == row.node_id:
        raise Conflict(f"Deployment {row.pk} is already on {node.name}: name another node.")
    if row.requested_cluster_id not in (None, node.cluster_id):
        raise Conflict(
            f"Deployment {row.pk} may run only on {row.requested_cluster}: name a node of it."
        )
    if not _fits(row, node):
        raise Conflict(
            f"Deployment {row.pk} cannot move to {node.name}: the node needs {Capacity.of(row)}"
            f" free (it has {Capacity.free_on(node)}), the labels that the deployment requires, and"
            " to be active. Name another node, or requeue the deployment."
        )
    return node


def _tightness(node: Node) -> tuple[int, ...]:
    return (*Capacity.free_on(node).by_size(), node.cluster_id, node.pk)


def _fits(row: Deployment, node: Node) -> bool:
    states = {node.state, node.cluster.state}
    return (
        states == {Cluster.State.ACTIVE}
        and Capacity.free_on(node).holds(Capacity.of(row))
        and satisfied(row.require, node.labels)
        and not _is_lost(node.cluster)
    )


def _is_lost(cluster: Cluster) -> bool:
    return is_without_contact(cluster.connection_of(None), timezone.now())


def _relocate(row: Deployment, actor: str, node: Node, *, bound: bool) -> Deployment:
    cluster = node.cluster
    where = Places.of_nodes([node]).of_node(node)
    change = Change(
        row.pk,
        f"Moved by {actor} to {where}, which has enough free capacity.",
        cluster=cluster.pk,
        node=node.pk,
        data={
            "code": "by_hand",
            "from": row.cluster_id,
            "from_node": row.node_id,
            "cluster": cluster.pk,
            "node": node.pk,
            "bound": bound,
        },
    )
    return _carry_out(row, lifecycle.MOVE, change, actor)


def _requeue(row: Deployment, actor: str, target: Cluster | None) -> Deployment:
    clusters = Cluster.objects.filter(organization=row.organization_id)
    target = clusters.filter(pk=target.pk).first() if target else None
    if target is None:
        raise NotFound("There is no such cluster in its organization: name another cluster.")
    if target.state != Cluster.State.ACTIVE:
        raise Conflict(
            f"Cluster {target.name} is {target.state}: uncordon it, or name another cluster."
        )
    if _is_lost(target):
        raise Conflict(
            f"Nothing can be placed on cluster {target.name}, because its engine is not available:"
            " name another cluster."
        )
    check_capacity(row.organization_id, replace(Spec.of(row), requested_cluster=target))
    _bind(row, target.pk)
    change = Change(
        row.pk,
        f"Moved by {actor}: waits for enough free capacity on {target.name}.",
        data={"code": "by_hand", "from": row.cluster_id, "for_cluster": target.pk, "bound": True},
    )
    return _carry_out(row, lifecycle.REQUEUE, change, actor)


def _bind(row: Deployment, cluster: int | None) -> None:
    Deployment.objects.filter(pk=row.pk).update(requested_cluster=cluster)


def _carry_out(row: Deployment, verb: lifecycle.Verb, change: Change, actor: str) -> Deployment:
    transition(verb, [change], actor=actor, now=timezone.now())
    for cluster_id in (row.cluster_id, change.cluster):
        if cluster_id is not None:
            request_reconcile(cluster_id)
    request_cycle(row.organization_id)
    row.refresh_from_db()
    return row
