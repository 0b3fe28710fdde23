"""Changes to clusters: one verb per function, each atomic and with one event."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from clusters.demand import demand
from clusters.models import DIMENSIONS, Cluster, Connection
from clusters.resources import describe
from clusters.wakeups import request_cycle
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record
from orgs.models import Organization
from orgs.services import protect_organizations


@dataclass(frozen=True, slots=True)
class Capacity:
    """CPU in millicores, RAM in MiB, GPU in devices."""

    cpu_milli: int
    ram_mib: int
    gpu: int

    @classmethod
    def of(cls, cluster: Cluster) -> "Capacity":
        return cls(*(getattr(cluster, name) for name in DIMENSIONS))

    def columns(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in DIMENSIONS}

    def __str__(self) -> str:
        return describe(self.cpu_milli, self.ram_mib, self.gpu)


@transaction.atomic
def create(
    *,
    actor: str,
    organization: Organization,
    name: str,
    capacity: Capacity,
    bounded: bool = True,
) -> Cluster:
    """Add a cluster.

    Raises Invalid if the organization has a cluster of that name, Conflict if it has too many.
    """
    if bounded:
        bounds.check([_bound(organization)])
    protect_organizations([organization.pk])
    with _unique(name):
        cluster = Cluster.objects.create(organization=organization, name=name, **capacity.columns())
    record(cluster, "created", actor, f"Created with {capacity}.")
    request_cycle(organization.pk)
    return cluster


@transaction.atomic
def update(cluster: Cluster, *, actor: str, name: str, capacity: Capacity) -> Cluster:
    """Rename or resize a cluster.

    Raises Conflict if it would shrink below what is allocated, or grow beyond its engine, and
    Invalid if the name is taken.
    """
    cluster = Cluster.objects.get_locked(cluster.pk)
    before = Capacity.of(cluster)
    if (name, capacity) == (cluster.name, before):
        return cluster
    _check_allocated(cluster, capacity)
    _check_engine(cluster, before, capacity)
    data = {"name": [cluster.name, name], "capacity": [before.columns(), capacity.columns()]}
    cluster.name = name
    for column, amount in capacity.columns().items():
        setattr(cluster, column, amount)
    with _unique(name):
        cluster.save()
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


def _check_allocated(cluster: Cluster, capacity: Capacity) -> None:
    allocated = Cluster.objects.with_allocated().get(pk=cluster.pk)
    present = Capacity(*(getattr(allocated, f"allocated_{name}") for name in DIMENSIONS))
    if any(getattr(capacity, name) < getattr(present, name) for name in DIMENSIONS):
        raise Conflict(
            f"Cluster {cluster.name} cannot shrink to {capacity}, because {present} are allocated."
            " Stop or move deployments first, or cordon the cluster and wait."
        )


def _check_engine(cluster: Cluster, before: Capacity, capacity: Capacity) -> None:
    """Raise Conflict if the capacity grows beyond that of an engine whose capacity is fixed."""
    if not cluster.kind.has_fixed_capacity:
        return
    has = Connection.objects.filter(cluster=cluster).first()
    for name in DIMENSIONS if has else ():
        wanted, there = getattr(capacity, name), getattr(has, name)
        if wanted > there and wanted > getattr(before, name):
            amounts = describe(*(getattr(has, dimension) for dimension in DIMENSIONS))
            raise Conflict(
                f"Cluster {cluster.name} cannot grow to {capacity}, because its engine has only"
                f" {amounts}. If the engine has grown, an operator has to connect it again."
            )


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
