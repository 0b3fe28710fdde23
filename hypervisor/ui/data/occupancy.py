"""What was allocated on each cluster before a cycle and after its decisions."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from scheduling.cycle.recording import Decision, Kind
from scheduling.planner.resources import DIMENSIONS, Resources, quantity
from scheduling.planner.snapshot import Cluster, Snapshot


@dataclass(frozen=True, slots=True)
class Use:
    """One resource of a cluster: allocated before and after the cycle, and the capacity."""

    dimension: str
    before: int
    after: int
    capacity: int

    @property
    def texts(self) -> tuple[str, str, str]:
        """Return before, after and capacity, formatted."""
        amounts = (self.before, self.after, self.capacity)
        before, after, capacity = (quantity(self.dimension, amount) for amount in amounts)
        return before, after, capacity

    @property
    def share(self) -> int:
        """Return the share allocated afterwards, in percent."""
        return round(100 * self.after / self.capacity) if self.capacity else 0


@dataclass(frozen=True, slots=True)
class Occupancy:
    cluster: Cluster
    deployments: tuple[int, int]
    uses: tuple[Use, ...]


def occupancy(snapshot: Snapshot, decisions: Iterable[Decision]) -> list[Occupancy]:
    """Return for each cluster its deployments and allocations before and after the decisions."""
    target = {d.deployment: d.target for d in decisions if d.kind is not Kind.WAITS}
    before: dict[int, list[Resources]] = defaultdict(list)
    after: dict[int, list[Resources]] = defaultdict(list)
    for row in snapshot.deployments:
        where = target.get(row.id, row.cluster)
        if row.cluster is not None:
            before[row.cluster].append(row.request)
        if where is not None:
            after[where].append(row.request)
    return [
        Occupancy(
            cluster,
            (len(before[cluster.id]), len(after[cluster.id])),
            tuple(
                Use(
                    name,
                    sum(getattr(request, name) for request in before[cluster.id]),
                    sum(getattr(request, name) for request in after[cluster.id]),
                    getattr(cluster.capacity, name),
                )
                for name in DIMENSIONS
            ),
        )
        for cluster in snapshot.clusters
    ]
