"""Dominant shares, by which requests of different dimensions are compared."""

from collections.abc import Iterable

from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment


class Shares:
    """Dominant shares as integers, parts of `whole`: comparable within one snapshot."""

    def __init__(self, clusters: list[Cluster]) -> None:
        total = sum((c.capacity for c in clusters), NOTHING)
        cpu, ram, gpu = max(total.cpu_milli, 1), max(total.ram_mib, 1), max(total.gpu, 1)
        self.weights = (ram * gpu, cpu * gpu, cpu * ram)
        self.whole = cpu * ram * gpu

    def of(self, request: Resources) -> int:
        """Return the request's dominant share: the largest of its shares of the total capacity."""
        return dominant_share(request, self.weights)

    def of_all(self, deployments: Iterable[Deployment]) -> list[int]:
        """Return the dominant share of each deployment's request."""
        cpu, ram, gpu = self.weights
        requests = [d.request for d in deployments]
        return [max(r.cpu_milli * cpu, r.ram_mib * ram, r.gpu * gpu) for r in requests]


def dominant_share(request: Resources, weights: tuple[int, int, int]) -> int:
    cpu, ram, gpu = weights
    return max(request.cpu_milli * cpu, request.ram_mib * ram, request.gpu * gpu)
