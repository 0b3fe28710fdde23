"""An operator has a deployment run somewhere else."""

from dataclasses import replace

from django.db import transaction
from django.utils import timezone

from clusters.models import DIMENSIONS, Cluster
from clusters.resources import describe
from clusters.wakeups import request_cycle, request_reconcile
from deployments import lifecycle, services
from deployments.lifecycle import Change, transition
from deployments.models import ACTIVE, Deployment, Status
from deployments.runtime.lost_contact import is_without_contact
from deployments.specs import Spec, check_capacity
from hypervisor.base.errors import Conflict, NotFound


@transaction.atomic
def move(deployment: Deployment, *, actor: str, target: Cluster | None = None) -> Deployment:
    """Bind it to the target; or, with None, to no cluster, and have it leave the one it is on.

    An active one moves at once where there is free room. To a target without, it is requeued: the
    next cycle makes the room there by preempting lower ones, or it waits. A pending one competes
    for the target from now on. The clusters are locked first, as a move consumes room.

    Raises Conflict when it has ended, is there already, or no other cluster has the room; Invalid
    when the target could never hold it.
    """
    if _status(deployment) == Status.PENDING:
        return _rebind(deployment, actor, target)
    clusters = _locked_clusters(deployment.organization_id)
    row = Deployment.objects.get_locked(deployment.pk)
    if row.status not in ACTIVE:
        raise Conflict(
            f"Deployment {row.pk} is {row.status}; only one that is pending, starting or running"
            " can be moved."
        )
    destination = _destination(row, clusters, target)
    if destination is None:
        return _requeue(row, actor, clusters, target)
    return _relocate(row, actor, destination, bound=target is not None)


def _status(deployment: Deployment) -> str | None:
    rows = Deployment.objects.filter(pk=deployment.pk)
    return rows.values_list("status", flat=True).first()


def _locked_clusters(organization_id: int) -> dict[int, Cluster]:
    """Lock the organization's clusters in the order of their ids; return them with allocations."""
    clusters = Cluster.objects.filter(organization_id=organization_id).order_by("pk")
    clusters = clusters.select_related("connection")
    list(clusters.locked())
    return {row.pk: row for row in clusters.with_allocated()}


def _rebind(deployment: Deployment, actor: str, target: Cluster | None) -> Deployment:
    spec = Spec.of(deployment)
    if spec.requested_cluster == target:
        where = f"waits for {target.name}" if target else "may run on any cluster"
        raise Conflict(
            f"Deployment {deployment.pk} is pending and {where} already: name another cluster."
        )
    return services.update(deployment, actor=actor, spec=replace(spec, requested_cluster=target))


def _destination(
    row: Deployment, clusters: dict[int, Cluster], target: Cluster | None
) -> int | None:
    """Return the cluster with free room that it goes to, None when the target has none.

    Of several the tightest fit, GPU before RAM before CPU: the rest stays whole for others.
    """
    if target is not None and target.pk == row.cluster_id:
        raise Conflict(f"Deployment {row.pk} is on {target.name} already: name another cluster.")
    wanted = [target.pk] if target else [pk for pk in clusters if pk != row.cluster_id]
    fitting = [pk for pk in wanted if pk in clusters and _fits(row, clusters[pk])]
    if not fitting and target is None:
        request = describe(row.cpu_milli, row.ram_mib, row.gpu)
        raise Conflict(
            f"Deployment {row.pk} needs {request}, and no other cluster has that free: name a"
            " cluster to have lower ones preempted there, or requeue it."
        )
    return min(fitting, key=lambda pk: (*reversed(_room(clusters[pk])), pk), default=None)


def _room(cluster: Cluster) -> tuple[int, ...]:
    return tuple(
        getattr(cluster, name) - getattr(cluster, f"allocated_{name}") for name in DIMENSIONS
    )


def _fits(row: Deployment, cluster: Cluster) -> bool:
    request = (getattr(row, name) for name in DIMENSIONS)
    enough = all(need <= room for need, room in zip(request, _room(cluster), strict=True))
    return enough and cluster.state == Cluster.State.ACTIVE and not _is_lost(cluster)


def _is_lost(cluster: Cluster) -> bool:
    return is_without_contact(cluster, timezone.now())


def _relocate(row: Deployment, actor: str, cluster: int, *, bound: bool) -> Deployment:
    _bind(row, cluster if bound else None)
    name = Cluster.objects.values_list("name", flat=True).get(pk=cluster)
    change = Change(
        row.pk,
        f"Moved by {actor}: there is room on {name}.",
        cluster=cluster,
        data={"code": "by_hand", "from": row.cluster_id, "cluster": cluster, "bound": bound},
    )
    return _carry_out(row, lifecycle.MOVE, change, actor)


def _requeue(
    row: Deployment, actor: str, clusters: dict[int, Cluster], target: Cluster | None
) -> Deployment:
    target = clusters.get(target.pk) if target else None
    if target is None:
        raise NotFound("There is no such cluster in its organization: name another one.")
    if target.state != Cluster.State.ACTIVE:
        raise Conflict(f"Cluster {target.name} is {target.state}: uncordon it, or name another.")
    if _is_lost(target):
        raise Conflict(f"There is no contact with cluster {target.name}: name another.")
    check_capacity(row.organization_id, replace(Spec.of(row), requested_cluster=target))
    _bind(row, target.pk)
    change = Change(
        row.pk,
        f"Moved by {actor}: waits for room on {target.name}.",
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
