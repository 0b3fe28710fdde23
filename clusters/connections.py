"""Connect clusters to the engines that run their containers; only for the platform's operators.

The operator chooses the socket or address that the service connects to, with the service's own
rights. The REST API therefore offers none of this.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters import engine_nodes
from clusters.demand import demand
from clusters.drivers import driver_of
from clusters.drivers.base import DriverError, Probe
from clusters.drivers.kinds import UNCONNECTED, kind_of
from clusters.models import DIMENSIONS, Cluster, Connection
from clusters.resources import cores, describe
from clusters.secrets import rotate
from clusters.wakeups import request_cycle, request_reconcile
from hypervisor.base.errors import Conflict, Invalid
from orgs.events import record


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach an engine. `credentials` are texts by name, as its driver expects them.

    `devices` are the ids of its GPUs, if the engine does not report them itself. `node_labels`,
    `tolerations` and `node_selector` are as on the connection.
    """

    driver: str
    endpoint: str
    namespace: str = ""
    network: str = Connection.Network.ISOLATED
    devices: tuple[str, ...] = ()
    node_labels: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    node_selector: tuple[str, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


_SET = (
    "uid", "endpoint", "namespace", "network", "devices", "node_labels", "tolerations",
    "node_selector", "credentials", "engine_id", "version", *DIMENSIONS, "probed_at",
    "reports_nodes",
)  # fmt: skip
"""The columns that an operator sets. A worker may be writing the others at the same time."""


def probe(cluster: Cluster, route: Route) -> Probe:
    """Return the engine's identity, amounts and warnings, without storing anything.

    `warnings` include each resource of which the cluster's capacity exceeds the engine's. Raises
    Invalid if the engine cannot be reached, Conflict if it is connected to another cluster or if
    the cluster has several nodes and the engine does not.
    """
    _check_nodes(cluster, route, None)
    # For a copy, because Django would cache the unsaved connection on the caller's cluster.
    connection = _of(cluster) or Connection(cluster=copy(cluster))
    _set(connection, route)
    try:
        found = driver_of(connection, route.driver).probe()
    except DriverError as error:
        raise Invalid(str(error), attr="endpoint", code="unreachable") from error
    _check_engine(cluster, found)
    _check_nodes(cluster, route, found)
    _check_selector(route, found)
    return Probe(
        **{name: getattr(found, name) for name in Probe.__dataclass_fields__ if name != "warnings"},
        warnings=(*_excess(cluster, found), *found.warnings),
    )


def connect(cluster: Cluster, *, actor: str, route: Route) -> Connection:
    """Connect the cluster to an engine, or change how its present engine is reached.

    Raises what `probe` raises, and Conflict while containers run on the cluster's former engine.
    """
    found = probe(cluster, route)
    with transaction.atomic(), _one_cluster_per_engine():
        row = Cluster.objects.get_locked(cluster.pk)
        _check_nodes(row, route, found)
        connection = _of(row) or Connection(cluster=row)
        if connection.engine_id != found.engine_id:
            demand().check_idle(row)
            # A new uid, so that containers left on the former engine never belong to this one.
            connection.uid = uuid4()
        _set(connection, route)
        connection.engine_id = found.engine_id
        connection.version = found.version
        connection.devices = list(found.devices)
        for name in DIMENSIONS:
            setattr(connection, name, getattr(found, name))
        connection.probed_at = timezone.now()
        connection.reports_nodes = found.nodes is not None
        connection.save(update_fields=_SET if connection.pk else None)
        row.driver = route.driver
        row.save(update_fields=["driver"])
        has = describe(found.cpu_milli, found.ram_mib, found.gpu)
        record(row, "connected", actor, f"Connected to an engine with {has} ({found.version}).")
        if found.nodes is not None:
            engine_nodes.sync(row, found.nodes, actor=actor, now=connection.probed_at)
        request_cycle(row.organization_id)
        request_reconcile(row.pk)
    return connection


def disconnect(cluster: Cluster, *, actor: str, engine_is_gone: bool = False) -> None:
    """Delete the connection, and cordon the cluster so that nothing is placed on it.

    Raises Conflict while containers are on the engine or may be there. `engine_is_gone` skips
    asking the engine, because it no longer exists.
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
        engine_nodes.forget(row)
        row.driver, row.state = UNCONNECTED, Cluster.State.CORDONED
        row.save(update_fields=["driver", "state"])
        record(row, "disconnected", actor, "Disconnected from its engine and cordoned.")
        request_cycle(row.organization_id)


@transaction.atomic
def rotate_credentials() -> int:
    """Encrypt all credentials with the first of CREDENTIALS_KEYS; return their number.

    Raises CannotDecrypt, without changing any, if the key of one is missing.
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
    connection.node_labels = list(route.node_labels)
    connection.tolerations = list(route.tolerations)
    connection.node_selector = list(route.node_selector)
    connection.seal_credentials(route.credentials)


def _check_nodes(cluster: Cluster, route: Route, found: Probe | None) -> None:
    """Raise Conflict if the cluster has several nodes, but its engine would have only one.

    `found` is None before the engine has been probed.
    """
    kind = kind_of(route.driver)
    count = cluster.nodes.count() if cluster.pk else 1
    reports = kind.reports_nodes if found is None else found.nodes is not None
    if count > 1 and not (kind.has_several_nodes or reports):
        raise Conflict(
            f"Cluster {cluster.name} has {count} nodes, and a cluster that is connected to an"
            f" engine ({kind.title}) has exactly one: delete the others first, or create another"
            " cluster for this engine."
        )


def _check_selector(route: Route, found: Probe) -> None:
    """Raise Invalid if the route has a node selector that matches no node."""
    if not route.node_selector or any(node.selected for node in found.nodes or ()):
        return
    unknown = found.nodes is None
    why = "the engine does not report its nodes" if unknown else "no node has these labels"
    raise Invalid(
        f"The node selector {', '.join(route.node_selector)} selects nothing: {why}. Label the"
        " nodes, or correct the selector.",
        attr="node_selector",
    )


def _check_engine(cluster: Cluster, found: Probe) -> None:
    others = Connection.objects.filter(engine_id=found.engine_id).exclude(cluster=cluster.pk)
    if other := others.select_related("cluster__organization").first():
        raise Conflict(
            f"This engine is already connected to cluster {other.cluster} of"
            f" {other.cluster.organization}, and an engine can serve only one cluster: share that"
            " cluster, or disconnect it first. (Two machines cloned from the same image may have"
            " the same engine id: give one of them a new id.)"
        )


def _check_empty(connection: Connection) -> None:
    try:
        there = driver_of(connection, connection.cluster.driver).observe(timezone.now())
    except DriverError as error:
        raise Conflict(
            f"{error} Containers may still be there: bring the engine back first, or confirm that"
            " it is gone for good."
        ) from error
    if there:
        raise Conflict(
            f"{len(there)} containers are still on the engine: drain cluster"
            f" {connection.cluster.name}, and wait until it is empty."
        )


def _excess(cluster: Cluster, found: Probe) -> Iterator[str]:
    """Yield a warning for each resource of which the cluster's capacity exceeds the engine's.

    A cluster whose engine reports its nodes has their capacity.
    """
    words = {"cpu_milli": "cores", "ram_mib": "MiB of RAM", "gpu": "GPUs"}
    for name in DIMENSIONS if found.nodes is None else ():
        claimed, there = getattr(cluster, name), getattr(found, name)
        if claimed > there:
            amounts = (cores(claimed), cores(there)) if name == "cpu_milli" else (claimed, there)
            yield (
                f"The cluster has {amounts[0]} {words[name]}, but its engine has only {amounts[1]}:"
                " resize the cluster, or deployments will be placed on it that cannot start."
            )


@contextmanager
def _one_cluster_per_engine() -> Iterator[None]:
    """Turn the unique constraint's IntegrityError into the Conflict that `_check_engine` raises."""
    try:
        yield
    except IntegrityError as error:
        if "engine_id" not in str(error):
            raise
        raise Conflict(
            "Another cluster was connected to this engine at the same time: use that cluster, or"
            " disconnect it first."
        ) from error
