"""Find who waits although room could be made: what rules 3 and 4 forbid once cycles have run.

It is told from a state alone, without a plan, and shares nothing with the planner: who trusts
neither asks both.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot


@dataclass(frozen=True, slots=True)
class Inversion:
    """A ready deployment that would fit on the cluster.

    `overlooked`: into its free room; otherwise if lower ones left that may be evicted for it.
    """

    deployment: int
    cluster: int
    overlooked: bool


def inversions(snapshot: Snapshot, holders: Mapping[int, int]) -> list[Inversion]:
    """Return at most one for each ready deployment, in the order of their ids.

    `holders` says, by cluster, for whom its room is held: to others of the same or lower priority
    it counts as taken.
    """
    snapshot = snapshot.ranked()
    priorities = {d.id: d.priority for d in snapshot.deployments}
    grounds = [
        _Ground(snapshot, cluster, priorities.get(holders.get(cluster.id, 0)), holders)
        for cluster in snapshot.clusters
        if cluster.state == ClusterState.ACTIVE
    ]
    ready = sorted((d for d in snapshot.deployments if d.cluster is None), key=lambda d: d.id)
    return [found for d in ready if (found := _first(d, grounds))]


def _first(d: Deployment, grounds: "Iterable[_Ground]") -> Inversion | None:
    found = [i for ground in grounds if (i := ground.look(d))]
    return min(found, key=lambda i: (not i.overlooked, i.cluster), default=None)


class _Ground:
    """One cluster, and what a deployment of each priority finds taken there."""

    def __init__(
        self,
        snapshot: Snapshot,
        cluster: Cluster,
        held_priority: int | None,
        holders: Mapping[int, int],
    ) -> None:
        self._snapshot, self._cluster = snapshot, cluster
        self._holder, self._held_priority = holders.get(cluster.id), held_priority
        self._active = [d for d in snapshot.deployments if d.cluster == cluster.id]
        self._used = _total(self._active)
        self._sound = self._used.fits_in(cluster.capacity)
        self._staying: dict[int, Resources] = {}
        self._answers: dict[tuple[int, Resources], bool | None] = {}

    def look(self, d: Deployment) -> Inversion | None:
        if not self._sound or d.requested_cluster not in (None, self._cluster.id):
            return None
        held = self._held_priority is not None and self._held_priority >= d.priority
        if held and self._holder != d.id:
            return None
        overlooked = self._answer(d.priority, d.request)
        return None if overlooked is None else Inversion(d.id, self._cluster.id, overlooked)

    def _answer(self, priority: int, request: Resources) -> bool | None:
        key = (priority, request)
        if key not in self._answers:
            capacity = self._cluster.capacity
            if (self._used + request).fits_in(capacity):
                self._answers[key] = True
            else:
                fits = (self._stay(priority) + request).fits_in(capacity)
                self._answers[key] = False if fits else None
        return self._answers[key]

    def _stay(self, priority: int) -> Resources:
        """Return what those take that one of this priority may not evict."""
        if priority not in self._staying:
            staying = [d for d in self._active if not self._evictable(d, priority)]
            self._staying[priority] = _total(staying)
        return self._staying[priority]

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
    """Shares of the resource that is scarcest: what is used of it, and what could be at most."""

    packed: float
    packable: float


def packing(snapshot: Snapshot) -> Packing | None:
    """Return how much of the scarcest resource is used; None where nobody waits.

    Scarcest is the one that those who run and wait ask most of, beside what the active clusters
    have. That all of it could be packed is a bound: what waits may not fit beside each other.
    """
    clusters = {c.id: c for c in snapshot.clusters if c.state == ClusterState.ACTIVE}
    capacity = sum((c.capacity for c in clusters.values()), NOTHING)
    by_shape: dict[tuple[Resources, int | None], list[Deployment]] = defaultdict(list)
    for d in snapshot.deployments:
        if d.cluster is None:
            by_shape[d.request, d.requested_cluster].append(d)
    waiting = [
        d
        for (request, bound), group in by_shape.items()
        if any(request.fits_in(c.capacity) for c in clusters.values() if bound in (None, c.id))
        for d in group
    ]
    if not waiting:
        return None
    used = _total(d for d in snapshot.deployments if d.cluster in clusters)
    wanted = used + _total(waiting)
    shares = [
        (w / c, u / c)
        for w, u, c in zip(_vector(wanted), _vector(used), _vector(capacity), strict=True)
        if c
    ]
    demand, packed = max(shares)
    return Packing(packed, min(demand, 1.0))


def _total(deployments: Iterable[Deployment]) -> Resources:
    return sum((d.request for d in deployments), NOTHING)


def _vector(amount: Resources) -> tuple[int, int, int]:
    return amount.cpu_milli, amount.ram_mib, amount.gpu
