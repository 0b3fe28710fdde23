"""Find ready deployments that rules 3 and 4 do not allow to wait after a cycle has run.

They are derived from a snapshot without a plan and without the planner's code, so that the two can
be checked against each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Bin, ClusterState, Deployment, Place, Snapshot


@dataclass(frozen=True, slots=True)
class Inversion:
    """A ready deployment that would fit on the node of the cluster.

    `overlooked`: it fits into free capacity; otherwise it fits if deployments of lower priorities
    are evicted that it may evict.
    """

    deployment: int
    cluster: int
    node: int
    overlooked: bool


def inversions(snapshot: Snapshot, reserved_for: Mapping[Place, int]) -> list[Inversion]:
    """Return at most one inversion for each ready deployment, in the order of their ids.

    `reserved_for` maps a node to the deployment that it is reserved for. For other deployments of
    the same or a lower priority the whole node counts as allocated.
    """
    priorities = {d.id: d.priority for d in snapshot.deployments}
    active: dict[Place, list[Deployment]] = defaultdict(list)
    homes = snapshot.homes()
    for d in snapshot.deployments:
        if d.id in homes:
            active[homes[d.id]].append(d)
    occupancies = [
        _Occupancy(snapshot, bin_, active[bin_.place], holder, priorities.get(holder or 0))
        for bin_ in snapshot.bins
        if bin_.state == ClusterState.ACTIVE
        for holder in [reserved_for.get(bin_.place)]
    ]
    ready = sorted((d for d in snapshot.deployments if d.cluster is None), key=lambda d: d.id)
    return [found for d in ready if (found := _first(d, occupancies))]


def _first(d: Deployment, occupancies: "Iterable[_Occupancy]") -> Inversion | None:
    found = [i for occupancy in occupancies if (i := occupancy.inversion(d))]
    return min(found, key=lambda i: (not i.overlooked, i.cluster, i.node), default=None)


class _Occupancy:
    """What is allocated on one node, and how much of it each priority could evict."""

    def __init__(
        self,
        snapshot: Snapshot,
        bin_: Bin,
        active: list[Deployment],
        holder: int | None,
        reserved_priority: int | None,
    ) -> None:
        self._snapshot, self._bin = snapshot, bin_
        self._holder, self._reserved_priority = holder, reserved_priority
        self._active = active
        self._allocated = _total(active)
        self._within_capacity = self._allocated.fits_in(bin_.capacity)
        self._protected: dict[int, Resources] = {}
        self._overlooked: dict[tuple[int, Resources], bool | None] = {}

    def inversion(self, d: Deployment) -> Inversion | None:
        if not self._within_capacity or not d.admits(self._bin):
            return None
        is_reserved = self._reserved_priority is not None and self._reserved_priority >= d.priority
        if is_reserved and self._holder != d.id:
            return None
        lowest = -1 << 62  # a suspended deployment evicts nothing, whatever its priority
        priority = lowest if self._snapshot.is_suspended(d) else d.priority
        overlooked = self._is_overlooked(priority, d.request)
        return None if overlooked is None else Inversion(d.id, *self._bin.place, overlooked)

    def _is_overlooked(self, priority: int, request: Resources) -> bool | None:
        """Return whether the request fits into free capacity; None if evictions do not help."""
        key = (priority, request)
        if key not in self._overlooked:
            capacity = self._bin.capacity
            if (self._allocated + request).fits_in(capacity):
                self._overlooked[key] = True
            else:
                fits = (self._not_evictable(priority) + request).fits_in(capacity)
                self._overlooked[key] = False if fits else None
        return self._overlooked[key]

    def _not_evictable(self, priority: int) -> Resources:
        """Return what is allocated to deployments that this priority may not evict."""
        if priority not in self._protected:
            protected = [d for d in self._active if not self._evictable(d, priority)]
            self._protected[priority] = _total(protected)
        return self._protected[priority]

    def _evictable(self, victim: Deployment, priority: int) -> bool:
        policy, now = self._snapshot.policy, self._snapshot.now
        gap = priority - victim.priority
        ran = None if victim.placed_at is None else now - victim.placed_at
        spared = victim.recent_preemptions >= policy.preemption_budget
        return (
            gap > 0
            and victim.preemptible
            and (ran is None or ran >= policy.min_run_seconds)
            and (not spared or gap >= policy.budget_override_gap)
        )


@dataclass(frozen=True, slots=True)
class Packing:
    """Shares of the scarcest resource: how much is allocated, and an upper bound of that."""

    packed: float
    packable: float


def packing(snapshot: Snapshot) -> Packing | None:
    """Return how much of the scarcest resource is allocated; None if no deployment waits.

    The scarcest resource is the one of which active and ready deployments together request the
    largest share of the active nodes' capacity. `packable` is only a bound, because the deployments
    may not fit together on the nodes.
    """
    bins = {b.place: b for b in snapshot.bins if b.state == ClusterState.ACTIVE}
    homes = snapshot.homes()
    capacity = sum((b.capacity for b in bins.values()), NOTHING)
    by_shape: dict[tuple[object, ...], list[Deployment]] = defaultdict(list)
    for d in snapshot.deployments:
        if d.cluster is None:
            by_shape[d.request, d.requested_cluster, d.require].append(d)
    waiting = [
        d
        for group in by_shape.values()
        if any(group[0].request.fits_in(b.capacity) and group[0].admits(b) for b in bins.values())
        for d in group
    ]
    if not waiting:
        return None
    allocated = _total(d for d in snapshot.deployments if homes.get(d.id) in bins)
    wanted = allocated + _total(waiting)
    shares = [
        (w / c, u / c)
        for w, u, c in zip(_vector(wanted), _vector(allocated), _vector(capacity), strict=True)
        if c
    ]
    demand, packed = max(shares)
    return Packing(packed, min(demand, 1.0))


def _total(deployments: Iterable[Deployment]) -> Resources:
    return sum((d.request for d in deployments), NOTHING)


def _vector(amount: Resources) -> tuple[int, int, int]:
    return amount.cpu_milli, amount.ram_mib, amount.gpu
