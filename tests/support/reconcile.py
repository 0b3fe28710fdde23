"""Reconcile and reach the engines of a cluster directly, without messages and threads."""

from clusters import engines
from clusters.drivers import driver_for
from clusters.drivers.base import Driver
from clusters.engines import Engine
from clusters.models import Cluster
from deployments.runtime.reconcile import reconcile as reconcile_engine


def reconcile(cluster_id: int) -> None:
    """Reconcile each engine of the cluster, one after another."""
    for engine in engines.of_cluster(Cluster.objects.get(pk=cluster_id)):
        reconcile_engine(engine)


def only_engine(cluster: Cluster) -> Engine:
    (engine,) = engines.of_cluster(cluster)
    return engine


def driver_of(cluster: Cluster) -> Driver:
    """Return the driver of the cluster's only engine."""
    return driver_for(only_engine(cluster))
