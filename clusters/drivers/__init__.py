"""The engines that run containers, behind one interface.

`base` is that interface, `kinds` lists the kinds of engine, each in a folder of its own.
"""

import os
from threading import Lock

# Not its classes: `clusters.models` imports `kinds`, and may be only half there at this moment.
from clusters import models
from clusters.drivers.base import Cause, Driver, DriverError
from clusters.drivers.kinds import kind_of

_Key = tuple[object, ...]
_drivers: dict[int, tuple[_Key, Driver]] = {}
_lock = Lock()
# A child must not share its parent's sockets.
os.register_at_fork(after_in_child=_drivers.clear)


def driver_for(cluster: "models.Cluster") -> Driver:
    """Return the driver that speaks to the cluster's engine: one a process and connection.

    Raises DriverError when the cluster needs a connection and has none.
    """
    if not cluster.kind.needs_connection:
        return cluster.kind.make_driver(models.Connection(cluster=cluster))
    connection = models.Connection.objects.filter(cluster=cluster).first()
    if connection is None:
        raise DriverError(
            f"Cluster {cluster.name} has no connection: an operator has to connect it.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )
    connection.cluster = cluster
    return _kept(connection)


def driver_of(connection: "models.Connection", driver: str) -> Driver:
    """Return a driver for a connection, which need not be saved, to probe it."""
    return kind_of(driver).make_driver(connection)


def _kept(connection: "models.Connection") -> Driver:
    """Return the same driver, with its open sockets, as long as the connection is the same."""
    key = (
        connection.cluster.driver,
        connection.endpoint,
        connection.namespace,
        connection.network,
        bytes(connection.credentials),
        tuple(connection.devices),
    )
    with _lock:
        known = _drivers.get(connection.pk)
        if known is None or known[0] != key:
            known = (key, driver_of(connection, connection.cluster.driver))
            _drivers[connection.pk] = known
        return known[1]
