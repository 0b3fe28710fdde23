"""Changes to clusters: one verb per function, each atomic and with one event."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import IntegrityError, transaction

from clusters import nodes
from clusters.capacity import Capacity
from clusters.demand import demand
from clusters.models import Cluster
from clusters.nodes import NodeSpec
from clusters.wakeups import request_cycle
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Invalid
from orgs.events import record
from orgs.models import Organization
from orgs.services import protect_organizations


@transaction.atomic
def create(
    *,
    actor: str,
    organization: Organization,
    name: str,
    capacity: Capacity | None = None,
    specs: Sequence[NodeSpec] = (),
    bounded: bool = True,
) -> Cluster:
    """Add a cluster of the nodes in `specs`, or of one node of this capacity, named like it.

    Raises Invalid if the organization has a cluster of that name, Conflict if it has too many, and
    the errors of `nodes.insert`.
    """
    if bounded:
        adding = len(specs) or 1
        bounds.check([_bound(organization), nodes.bound(organization, adding=adding)])
    protect_organizations([organization.pk])
    if capacity is not None:
        specs = [NodeSpec.only(name, capacity)]
    total = Capacity.total(spec.capacity for spec in specs)
    with _unique(name):
        cluster = Cluster.objects.create(organization=organization, name=name, **total.columns())
    nodes.insert(cluster, specs)
    made_of = f" on {len(specs)} nodes" if len(specs) > 1 else ""
    record(cluster, "created", actor, f"Created with {total}{made_of}.")
    request_cycle(organization.pk)
    return cluster


@transaction.atomic
def update(cluster: Cluster, *, actor: str, name: str, capacity: Capacity) -> Cluster:
    """Rename a cluster, or resize its only node.

    Raises Conflict if it would shrink below what is allocated, or grow beyond its engine, and
    Invalid if the name is taken or if a cluster of several nodes would be resized.
    """
    cluster = Cluster.objects.get_locked(cluster.pk)
    before = Capacity.of(cluster)
    if (name, capacity) == (cluster.name, before):
        return cluster
    data = {"name": [cluster.name, name], "capacity": [before.columns(), capacity.columns()]}
    if capacity != before:
        nodes.resize_only(cluster, capacity)
    cluster.name = name
    with _unique(name):
        cluster.save(update_fields=["name"])
    record(cluster, "updated", actor, f"Now {name} with {capacity}; it had {before}.", data)
    request_cycle(cluster.organization_id)
    return cluster


def cordon(cluster: Cluster, *, actor: str) -> Cluster:
    """Stop placing deployments on the cluster; those that run there continue."""
    return _set_state(
        cluster, Cluster.State.CORDONED, actor, "Cordoned: no deployments are placed on it."
    )


def uncordon(cluster: Cluster, *, actor: str) -> Cluster:
    """Place deployments on the cluster again."""
    return _set_state(
        cluster, Cluster.State.ACTIVE, actor, "Uncordoned: deployments are placed on it again."
    )


def drain(cluster: Cluster, *, actor: str) -> Cluster:
    """Stop placing deployments on the cluster, and move or requeue those that run there."""
    return _set_state(
        cluster, Cluster.State.DRAINING, actor, "Draining: its deployments are moved or requeued."
    )


@transaction.atomic
def delete(cluster: Cluster, *, actor: str) -> None:
    """Delete a cluster.

    Raises Conflict while deployments or containers are on it, or a pending deployment requests it.
    """
    # For deletion, so that a transaction that submits a deployment for this cluster has to wait.
    row = Cluster.objects.get_locked(cluster.pk, for_deletion=True)
    demand().before_deletion(row)
    record(row, "deleted", actor, f"{row.name} deleted.")
    row.delete()
    request_cycle(row.organization_id)


def lock_for_deletion(organization: Organization) -> None:
    """Lock the organization's clusters, which are deleted with it."""
    list(organization.clusters.locked(for_deletion=True).values_list("pk"))


def _bound(organization: Organization) -> Bound:
    return Bound(
        "MAX_CLUSTERS_PER_ORGANIZATION",
        organization.pk,
        organization.clusters.all(),
        lambda there, bound: (
            f"Organization {organization.name} has {there} clusters, and an organization may have"
            f" no more than {bound}: delete one, or ask an operator of this service to add one."
        ),
    )


@transaction.atomic
def _set_state(cluster: Cluster, state: Cluster.State, actor: str, reason: str) -> Cluster:
    cluster = Cluster.objects.get_locked(cluster.pk)
    if cluster.state != state:
        data = {"state": [cluster.state, state]}
        cluster.state = state
        cluster.save(update_fields=["state"])
        record(cluster, state, actor, reason, data)
        request_cycle(cluster.organization_id)
    return cluster


@contextmanager
def _unique(name: str) -> Iterator[None]:
    """Turn the unique constraint's IntegrityError into Invalid for the field `name`."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "cluster_name_unique" not in str(error):
            raise
        raise Invalid(
            f"The organization already has a cluster named {name}: choose another name.",
            attr="name",
            code="unique",
        ) from error
