"""Connecting clusters to the engines that run their containers: for the platform's operators.

Whoever names a socket or an address names what the service talks to, with its rights. So none of
this is reached from the REST API.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters.demand import demand
from clusters.drivers import driver_of
from clusters.drivers.base import DriverError, Probe
from clusters.drivers.kinds import UNCONNECTED
from clusters.models import DIMENSIONS, Cluster, Connection
from clusters.resources import cores, describe
from clusters.secrets import rotate
from clusters.wakeups import request_cycle, request_reconcile
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record


@dataclass(frozen=True, slots=True)
class Route:
    """How an engine is to be reached. `credentials` are texts by name, as its driver wants them.

    `devices` are the ids of its GPUs, where the engine does not say them itself.
    """

    driver: str
    endpoint: str
    namespace: str = ""
    network: str = Connection.Network.ISOLATED
    devices: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


_SET = (
    "uid", "endpoint", "namespace", "network", "devices", "credentials", "engine_id", "version",
    *DIMENSIONS, "probed_at",
)  # fmt: skip
"""What an operator sets; the rest is the worker's, which may be at work at this moment."""


def probe(cluster: Cluster, route: Route) -> Probe:
    """Ask the engine what it is and has; nothing is stored.

    `warnings` also tell where the cluster claims more than there is. Raises Invalid when the engine
    cannot be reached like that, and Conflict when it is another cluster's.
    """
    # Of a copy: the caller's cluster would take it for its own.
    connection = _of(cluster) or Connection(cluster=copy(cluster))
    _set(connection, route)
    try:
        found = driver_of(connection, route.driver).probe()
    except DriverError as error:
        raise Invalid(str(error), attr="endpoint", code="unreachable") from error
    _check_engine(cluster, found)
    return Probe(
        **{name: getattr(found, name) for name in Probe.__dataclass_fields__ if name != "warnings"},
        warnings=(*_excess(cluster, found), *found.warnings),
    )


def connect(cluster: Cluster, *, actor: str, route: Route) -> Connection:
    """Have the cluster's containers run on an engine from now on, or reach the same engine anew.

    Raises what `probe` does, and Conflict while something runs on the cluster's former engine.
    """
    found = probe(cluster, route)
    with transaction.atomic(), _one_cluster_per_engine():
        row = Cluster.objects.get_locked(cluster.pk)
        connection = _of(row) or Connection(cluster=row)
        if connection.engine_id != found.engine_id:
            demand().check_idle(row)
            # Whose the former engine is, and what may be left there, is not this one's business.
            connection.uid = uuid4()
        _set(connection, route)
        connection.engine_id = found.engine_id
        connection.version = found.version
        connection.devices = list(found.devices)
        for name in DIMENSIONS:
            setattr(connection, name, getattr(found, name))
        connection.probed_at = timezone.now()
        connection.save(update_fields=_SET if connection.pk else None)
        row.driver = route.driver
        row.save(update_fields=["driver"])
        has = describe(found.cpu_milli, found.ram_mib, found.gpu)
        record(row, "connected", actor, f"Connected to an engine with {has} ({found.version}).")
        request_cycle(row.organization_id)
        request_reconcile(row.pk)
    return connection


def disconnect(cluster: Cluster, *, actor: str, engine_is_gone: bool = False) -> None:
    """Forget the engine; the cluster is cordoned, so that nothing is placed where nothing runs.

    Raises Conflict while containers are there, or may be: `engine_is_gone` says that the engine
    does not exist any more, whatever it last had.
    """
    connection = _of(cluster)
    if connection is None:
        raise Conflict(f"Cluster {cluster.name} has no connection.")
    if not engine_is_gone:
        _check_empty(connection)
    with transaction.atomic():
        row = Cluster.objects.get_locked(cluster.pk)
        demand().check_idle(row)
        Connection.objects.filter(cluster=row).delete()
        row.driver, row.state = UNCONNECTED, Cluster.State.CORDONED
        row.save(update_fields=["driver", "state"])
        record(row, "disconnected", actor, "Disconnected from its engine, and cordoned.")
        request_cycle(row.organization_id)


@transaction.atomic
def rotate_credentials() -> int:
    """Encrypt all credentials with the first of CREDENTIALS_KEYS; return how many there are.

    Raises CannotDecrypt when the key of one is missing; then none has changed.
    """
    rows = Connection.objects.locked().exclude(credentials=b"")
    for connection in rows:
        connection.credentials = rotate(connection.credentials)
        connection.save(update_fields=["credentials"])
    return len(rows)


def _of(cluster: Cluster) -> Connection | None:
    return Connection.objects.select_related("cluster").filter(cluster=cluster.pk).first()


def _set(connection: Connection, route: Route) -> None:
    connection.endpoint = route.endpoint
    connection.namespace = route.namespace
    connection.network = route.network
    connection.devices = list(route.devices)
    connection.seal_credentials(route.credentials)


def _check_engine(cluster: Cluster, found: Probe) -> None:
    others = Connection.objects.filter(engine_id=found.engine_id).exclude(cluster=cluster.pk)
    if other := others.select_related("cluster__organization").first():
        raise Conflict(
            f"This engine is cluster {other.cluster} of {other.cluster.organization}: its room can"
            " be promised once only. Give that cluster to more people, or disconnect it first. (Two"
            " machines that were copied from one may have the same engine id: give the second a new"
            " one.)"
        )


def _check_empty(connection: Connection) -> None:
    try:
        there = driver_of(connection, connection.cluster.driver).observe(timezone.now())
    except DriverError as error:
        raise Conflict(
            f"{error} Nobody knows whether containers are still there: bring it back first, or say"
            " that it is gone for good."
        ) from error
    if there:
        raise Conflict(
            f"{len(there)} containers are still there: drain cluster {connection.cluster.name}, and"
            " wait until it is empty."
        )


def _excess(cluster: Cluster, found: Probe) -> Iterator[str]:
    """Yield a sentence for each resource of which the cluster claims more than there is."""
    words = {"cpu_milli": "cores", "ram_mib": "MiB of RAM", "gpu": "GPUs"}
    for name in DIMENSIONS:
        claimed, there = getattr(cluster, name), getattr(found, name)
        if claimed > there:
            amounts = (cores(claimed), cores(there)) if name == "cpu_milli" else (claimed, there)
            yield (
                f"The cluster claims {amounts[0]} {words[name]} and the engine has {amounts[1]}:"
                " resize it, or deployments are placed that cannot start."
            )


@contextmanager
def _one_cluster_per_engine() -> Iterator[None]:
    """Turn the constraint's refusal into the same error that a look beforehand gives."""
    try:
        yield
    except IntegrityError as error:
        if "engine_id" not in str(error):
            raise
        raise Conflict("Another cluster has been connected to this engine meanwhile.") from error
