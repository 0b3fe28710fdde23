"""The engines that run containers, behind one interface; each is imported when first used."""

from django.utils.module_loading import import_string

from clusters.drivers.base import Driver
from clusters.models import Cluster

_PATHS = {Cluster.Driver.SIMULATED: "clusters.drivers.simulated.SimulatedDriver"}


def driver_for(cluster: Cluster) -> Driver:
    """Return the driver that speaks to the cluster's engine."""
    driver: Driver = import_string(_PATHS[Cluster.Driver(cluster.driver)])(cluster)
    return driver
