"""The engines that run containers, behind one interface.

`base` defines the interface, and `kinds` lists the kinds of engine, one folder each.
"""

import os
from threading import Lock
from typing import TYPE_CHECKING

# The module, not its classes, because `clusters.models` may be importing `kinds` at this point.
from clusters import models
from clusters.drivers.base import Cause, Driver, DriverError
from clusters.drivers.kinds import kind_of

if TYPE_CHECKING:
    from clusters.engines import Engine

_Key = tuple[object, ...]
_drivers: dict[int, tuple[_Key, Driver]] = {}
_lock = Lock()
# A forked process must not share its parent's sockets.
os.register_at_fork(after_in_child=_drivers.clear)


def driver_for(engine: "Engine") -> Driver:
    """Return the driver of an engine, one per process and connection.

    Raises DriverError if the engine needs a connection and has none.
    """
    cluster, connection = engine.cluster, engine.connection
    if not cluster.kind.needs_connection:
        return cluster.kind.make_driver(models.Connection(cluster=cluster))
    if connection is None:
        raise DriverError(
            f"Cluster {cluster.name} has no connection: an operator has to connect it.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )
    return _cached(connection)


def driver_of(connection: "models.Connection", driver: str) -> Driver:
    """Return a driver to probe a connection, which need not be saved."""
    return kind_of(driver).make_driver(connection)


def _cached(connection: "models.Connection") -> Driver:
    """Return the same driver, with its open sockets, until the connection changes."""
    key = (
        connection.cluster.driver,
        connection.endpoint,
        connection.namespace,
        connection.network,
        bytes(connection.credentials),
        tuple(connection.devices),
        tuple(connection.node_labels),
        tuple(connection.tolerations),
        tuple(connection.node_selector),
        connection.node_id,
    )
    with _lock:
        cached = _drivers.get(connection.pk)
        if cached is None or cached[0] != key:
            cached = (key, driver_of(connection, connection.cluster.driver))
            _drivers[connection.pk] = cached
        return cached[1]
