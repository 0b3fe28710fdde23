"""The engines that run containers, behind one interface; each is imported when first used."""

import os
from threading import Lock

from django.utils.module_loading import import_string

from clusters.drivers.base import Cause, Driver, DriverError
from clusters.models import Cluster, Connection

_PATHS = {
    Cluster.Driver.SIMULATED: "clusters.drivers.simulated.SimulatedDriver",
    Cluster.Driver.DOCKER: "clusters.drivers.docker.DockerDriver",
    Cluster.Driver.KUBERNETES: "clusters.drivers.kubernetes.KubernetesDriver",
}
"""Simulated is made from its cluster, the others from their connection."""

_Key = tuple[object, ...]
_drivers: dict[int, tuple[_Key, Driver]] = {}
_lock = Lock()
# A child must not share its parent's sockets.
os.register_at_fork(after_in_child=_drivers.clear)


def driver_for(cluster: Cluster) -> Driver:
    """Return the driver that speaks to the cluster's engine: one a process and connection.

    Raises DriverError when the cluster has no connection.
    """
    if cluster.driver == Cluster.Driver.SIMULATED:
        return _make(cluster.driver, cluster)
    connection = Connection.objects.filter(cluster=cluster).first()
    if connection is None:
        raise DriverError(
            f"Cluster {cluster.name} has no connection: an operator has to connect it.",
            retriable=True,
            cause=Cause.UNREACHABLE,
        )
    connection.cluster = cluster
    return _kept(connection)


def driver_of(connection: Connection, driver: str) -> Driver:
    """Return a driver for a connection, which need not be saved, to probe it."""
    return _make(driver, connection)


def _kept(connection: Connection) -> Driver:
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
            known = (key, _make(connection.cluster.driver, connection))
            _drivers[connection.pk] = known
        return known[1]


def _make(driver: str, of: Cluster | Connection) -> Driver:
    made: Driver = import_string(_PATHS[Cluster.Driver(driver)])(of)
    return made
