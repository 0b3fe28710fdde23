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
from django.db.models import Q, QuerySet
from django.utils import timezone

from clusters import engine_nodes, engines, node_states, sharing
from clusters.demand import demand
from clusters.drivers import driver_for, driver_of
from clusters.drivers.base import DriverError, Probe
from clusters.drivers.kinds import UNCONNECTED, kind_of
from clusters.engines import Engine
from clusters.models import DIMENSIONS, Cluster, Connection, Node
from clusters.resources import cores, describe
from clusters.wakeups import request_cycle, request_reconcile
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import rotate
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
    "uid", "node", "endpoint", "namespace", "network", "devices", "node_labels",
    "tolerations", "node_selector", "credentials", "engine_id", "version", *DIMENSIONS, "probed_at",
    "reports_nodes",
)  # fmt: skip
"""The columns that an operator sets. A worker may be writing the others at the same time."""


def present(cluster: Cluster, driver: str, *, node: str | None = None) -> Connection | None:
    """Return the connection to the present engine of the node, if it is of this kind.

    Without a node, to the cluster's only engine; None if it has several.
    """
    rows = Connection.objects.filter(cluster=cluster, cluster__driver=driver)
    if node is not None:
        rows = rows.filter(Q(node=None) | Q(node__name=node))
    found = list(rows.select_related("node")[:2])
    return found[0] if len(found) == 1 else None


def probe(cluster: Cluster, route: Route, *, node: str | None = None) -> Probe:
    """Return the engine's identity, amounts and warnings, without storing anything.

    `node` names the node whose containers the engine is to run; it may be omitted for the only one,
    and has to be for an engine of all nodes. `warnings` include each resource of which the node's
    capacity exceeds the engine's. Raises Invalid if the node is not clear or the engine cannot be
    reached, Conflict if the engine or its nodes are used already or if the cluster's nodes or its
    other engines do not go with it.
    """
    of = _node_for(cluster, route, node)
    _check_nodes(cluster, route, None)
    connection = _of(cluster, of) or Connection()
    # A copy, because Django would cache the unsaved connection on the caller's cluster.
    connection.cluster, connection.node = copy(cluster), copy(of)
    _check_others(cluster, route, connection)
    former = _use(connection)
    _set(connection, route)
    try:
        found = driver_of(connection, route.driver).probe()
    except DriverError as error:
        raise Invalid(str(error), attr="endpoint", code="unreachable") from error
    _check_nodes(cluster, route, found)
    _check_selector(route, found)
    _check_share(connection, former, route, found)
    return Probe(
        **{name: getattr(found, name) for name in Probe.__dataclass_fields__ if name != "warnings"},
        warnings=(*_excess(cluster, of, found), *found.warnings),
    )


def connect(cluster: Cluster, *, actor: str, route: Route, node: str | None = None) -> Connection:
    """Connect the cluster or one of its nodes to an engine, or change how it is reached.

    Raises what `probe` raises, and Conflict while containers run on the former engine.
    """
    found = probe(cluster, route, node=node)
    with transaction.atomic(), _each_engine_once():
        row = Cluster.objects.get_locked(cluster.pk)
        of = _node_for(row, route, node)
        _check_nodes(row, route, found)
        sharing.lock(found.engine_id)
        connection = _of(row, of) or Connection(cluster=row)
        former = _use(connection)
        _check_others(row, route, connection)
        is_new = connection.engine_id != found.engine_id
        if is_new:
            demand().check_idle(row, of if row.driver == route.driver else None)
            # A new uid, so that containers left on the former engine never belong to this one.
            connection.uid = uuid4()
        connection.node = of
        _set(connection, route)
        _check_share(connection, former, route, found)
        _describe(connection, found)
        connection.save(update_fields=_SET if connection.pk else None)
        _nodes(row, of).update(can_limit_storage=found.can_limit_storage)
        row.driver = route.driver
        row.save(update_fields=["driver"])
        has = describe(found.cpu_milli, found.ram_mib, found.gpu)
        subject = f"Node {of.name} connected" if of and row.nodes.count() > 1 else "Connected"
        text = f"{subject} to an engine with {has} ({found.version})."
        record(row, "connected", actor, text, {"node": of.pk} if of else {})
        if found.nodes is not None:
            now = connection.probed_at
            engine_nodes.sync(row, found.nodes, actor=actor, now=now, is_new=is_new)
        node_states.cordon_unconnected(row)
        request_cycle(row.organization_id)
        request_reconcile(row.pk)
    return connection


def disconnect(
    cluster: Cluster, *, actor: str, node: str | None = None, engine_is_gone: bool = False
) -> None:
    """Delete a connection, and cordon its node or the cluster so that nothing is placed there.

    `node` names the node whose engine it is; it may be omitted for the only engine. Raises Invalid
    if the engine is not clear, Conflict while containers are on the engine or may be there.
    `engine_is_gone` skips asking the engine, because it no longer exists.
    """
    some = Connection.objects.filter(cluster=cluster).select_related("cluster").first()
    if some is None:
        raise Conflict(f"Cluster {cluster.name} has no connection.")
    engine = engines.named(some.cluster, node)
    if not engine_is_gone:
        _check_empty(engine)
    with transaction.atomic():
        row = Cluster.objects.get_locked(cluster.pk)
        demand().check_idle(row, engine.node)
        sharing.wake_others(engine.connection)
        Connection.objects.filter(engine.connected).delete()
        _nodes(row, engine.node).update(can_limit_storage=True)
        if Connection.objects.filter(cluster=row).exists():
            node_states.cordon_unconnected(row)
            text = f"{engine.called} disconnected from its engine and cordoned."
        else:
            node_states.forget_engines(row)
            row.driver, row.state = UNCONNECTED, Cluster.State.CORDONED
            row.save(update_fields=["driver", "state"])
            text = "Disconnected from its engine and cordoned."
        record(row, "disconnected", actor, text, engine.facts_within)
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


def _node_for(cluster: Cluster, route: Route, name: str | None) -> Node | None:
    """Return the node whose containers the engine is to run, None if it runs those of all nodes."""
    kind = kind_of(route.driver)
    if not kind.has_engine_per_node:
        if name is not None:
            raise Invalid(
                f"An engine of this kind ({kind.title}) runs the containers of all nodes of its"
                " cluster: omit the node.",
                attr="node",
            )
        return None
    if cluster.pk is None:
        return None
    return engines.node_named(cluster, name) if name else engines.only_node(cluster)


def _of(cluster: Cluster, node: Node | None) -> Connection | None:
    """Return the connection that the one to this node's engine is made from."""
    rows = Connection.objects.select_related("cluster", "node").filter(cluster=cluster.pk)
    return (rows.filter(Q(node=node) | Q(node=None)) if node else rows).first()


def _nodes(cluster: Cluster, node: Node | None) -> QuerySet[Node]:
    """Return the nodes of an engine: this one, or all of its cluster."""
    return cluster.nodes.filter(pk=node.pk) if node else cluster.nodes.all()


def _set(connection: Connection, route: Route) -> None:
    connection.endpoint = route.endpoint
    connection.namespace = route.namespace
    connection.network = route.network
    connection.devices = list(route.devices)
    connection.node_labels = list(route.node_labels)
    connection.tolerations = list(route.tolerations)
    connection.node_selector = list(route.node_selector)
    connection.seal_credentials(route.credentials)


def _describe(connection: Connection, found: Probe) -> None:
    connection.engine_id = found.engine_id
    connection.version = found.version
    connection.devices = list(found.devices)
    for name in DIMENSIONS:
        setattr(connection, name, getattr(found, name))
    connection.probed_at = timezone.now()
    connection.reports_nodes = found.nodes is not None


def _check_others(cluster: Cluster, route: Route, connection: Connection) -> None:
    """Raise Conflict if the cluster's other engines are of another kind."""
    others = Connection.objects.filter(cluster=cluster.pk).exclude(pk=connection.pk)
    other = others.select_related("cluster").first()
    if other and other.cluster.driver != route.driver:
        raise Conflict(
            f"Other nodes of cluster {cluster.name} are connected to engines of another kind"
            f" ({other.cluster.kind.title}): disconnect them first, or create another cluster."
        )


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


def _use(connection: Connection) -> tuple[str, tuple[str, ...]]:
    """Return what of the engine's the connection uses."""
    return connection.engine_id, tuple(connection.node_selector)


def _check_share(
    connection: Connection, former: tuple[str, tuple[str, ...]], route: Route, found: Probe
) -> None:
    """Raise Conflict if another cluster uses the engine, or nodes that were not used before."""
    sharing.check(kind_of(route.driver), connection, found)
    if former != (found.engine_id, route.node_selector):
        sharing.check_nodes(connection, found)


def _check_empty(engine: Engine) -> None:
    try:
        there = driver_for(engine).observe(timezone.now())
    except DriverError as error:
        raise Conflict(
            f"{error} Containers may still be there: bring the engine back first, or confirm that"
            " it is gone for good."
        ) from error
    if there:
        raise Conflict(
            f"{len(there)} containers are still on the engine: drain {engine.unit} {engine.where},"
            " and wait until it is empty."
        )


def _excess(cluster: Cluster, node: Node | None, found: Probe) -> Iterator[str]:
    """Yield a warning for each resource of which the capacity exceeds the engine's.

    A cluster whose engine reports its nodes has their capacity.
    """
    words = {"cpu_milli": "cores", "ram_mib": "MiB of RAM", "gpu": "GPUs"}
    is_one_of_several = node is not None and cluster.nodes.count() > 1
    subject, kind = (f"Node {node}", "node") if is_one_of_several else ("The cluster", "cluster")
    for name in DIMENSIONS if found.nodes is None else ():
        claimed, there = getattr(node or cluster, name), getattr(found, name)
        if claimed > there:
            amounts = (cores(claimed), cores(there)) if name == "cpu_milli" else (claimed, there)
            yield (
                f"{subject} has {amounts[0]} {words[name]}, but its engine has only {amounts[1]}:"
                f" resize the {kind}, or deployments will be placed on it that cannot start."
            )


@contextmanager
def _each_engine_once() -> Iterator[None]:
    """Turn the unique constraint's IntegrityError into the Conflict that `_check_engine` raises."""
    try:
        yield
    except IntegrityError as error:
        if "engine_id" not in str(error):
            raise
        raise Conflict(
            "This engine was connected elsewhere at the same time: use that cluster, or disconnect"
            " it first."
        ) from error
