"""The policies that the planner is compared with, on the same snapshots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Eviction, Placement, Plan
from scheduling.planner.problem import Shares
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import ClusterState, Deployment, Snapshot

Policy = Callable[[Snapshot], Plan]


class _Occupancy:
    """The free capacity and the deployments of each cluster while a policy decides."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.free = {c.id: c.capacity for c in snapshot.clusters}
        self._open = {c.id for c in snapshot.clusters if c.state == ClusterState.ACTIVE}
        self.placed: dict[int, list[Deployment]] = {c.id: [] for c in snapshot.clusters}
        for d in snapshot.deployments:
            if d.cluster is not None:
                self.place(d, d.cluster)

    def place(self, d: Deployment, cluster: int) -> None:
        self.free[cluster] -= d.request
        self.placed[cluster].append(d)

    def remove(self, d: Deployment, cluster: int) -> None:
        self.free[cluster] += d.request
        self.placed[cluster].remove(d)

    def eligible(self, d: Deployment) -> list[int]:
        return [c for c in self.free if c in self._open and d.requested_cluster in (None, c)]

    def best_fit(self, d: Deployment) -> int | None:
        """Return the cluster that d fits on with the least free, GPU before CPU before RAM."""
        fits = [
            (self.free[c].gpu, self.free[c].cpu_milli, self.free[c].ram_mib, c)
            for c in self.eligible(d)
            if d.request.fits_in(self.free[c])
        ]
        return min(fits)[-1] if fits else None


def _ready(snapshot: Snapshot) -> list[Deployment]:
    return [d for d in snapshot.deployments if d.cluster is None]


def _in_order(snapshot: Snapshot, queue: list[Deployment], *, blocks: bool) -> Plan:
    """Place in order what fits; with `blocks`, stop at the first deployment that does not."""
    clusters, placements, failed = _Occupancy(snapshot), [], set()
    for d in queue:
        shape = d.request, d.requested_cluster
        cluster = None if shape in failed else clusters.best_fit(d)
        if cluster is not None:
            clusters.place(d, cluster)
            placements.append(Placement(d.id, cluster, "placed", ""))
        elif blocks:
            break
        else:
            failed.add(shape)
    return Plan(tuple(placements))


def first_come_first_served(snapshot: Snapshot) -> Plan:
    queue = sorted(_ready(snapshot), key=lambda d: (d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=True)


def strict_priority(snapshot: Snapshot) -> Plan:
    """By priority, then time in the queue; smaller deployments may pass, nothing is evicted."""
    queue = sorted(_ready(snapshot), key=lambda d: (-d.priority, d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=False)


def smallest_first(snapshot: Snapshot) -> Plan:
    """The smallest dominant share first, regardless of priority; nothing is evicted."""
    shares = Shares(list(snapshot.clusters))
    queue = sorted(_ready(snapshot), key=lambda d: (shares.of(d.request), d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=False)


@dataclass(frozen=True, slots=True)
class _Option:
    cluster: int
    victims: tuple[Deployment, ...]

    def harm(self) -> tuple[int, int, int, int, int]:
        """Return what kube-scheduler compares: highest priority, sum, number, latest placement."""
        priorities = [v.priority for v in self.victims]
        latest = max(v.placed_at or 0 for v in self.victims)
        return max(priorities), sum(priorities), len(priorities), -latest, self.cluster


_Search = Callable[[_Occupancy, Sequence[Deployment], Deployment, int], _Option | None]


def kube_preemption(snapshot: Snapshot) -> Plan:
    """By priority. Remove all lower deployments, place, then restore the highest that still fit."""
    return _preempting(snapshot, lambda _: True, _restore_highest)


def kube_within_budget(snapshot: Snapshot) -> Plan:
    """As `kube_preemption`, but without victims that have used up the policy's budget."""
    budget = snapshot.policy.preemption_budget
    return _preempting(snapshot, lambda v: v.recent_preemptions < budget, _restore_highest)


def naive_preemption(snapshot: Snapshot) -> Plan:
    """By priority. Evict the lowest deployments until it fits, and restore none."""
    return _preempting(snapshot, lambda _: True, _lowest_first)


def _preempting(
    snapshot: Snapshot, evictable: Callable[[Deployment], bool], option: _Search
) -> Plan:
    clusters = _Occupancy(snapshot)
    started: dict[int, int] = {}
    evicted: dict[int, tuple[int, int]] = {}
    failed: set[tuple[int, Resources, int | None]] = set()
    for d in sorted(_ready(snapshot), key=lambda d: (-d.priority, d.queued_at, d.id)):
        shape = d.priority, d.request, d.requested_cluster
        if shape in failed:
            continue
        cluster = clusters.best_fit(d)
        if cluster is None:
            options = []
            for c in clusters.eligible(d):
                lower = [v for v in clusters.placed[c] if v.priority < d.priority and evictable(v)]
                options += [o for o in [option(clusters, lower, d, c)] if o]
            if not options:
                failed.add(shape)
                continue
            best = min(options, key=_Option.harm)
            cluster = best.cluster
            for victim in best.victims:
                clusters.remove(victim, cluster)
                evicted[victim.id] = (cluster, d.id)
        clusters.place(d, cluster)
        started[d.id] = cluster
    return Plan(
        tuple(Placement(d, c, "placed", "") for d, c in started.items()),
        tuple(Eviction(v, c, d, False, "preempted", "") for v, (c, d) in evicted.items()),
    )


def _restore_highest(
    clusters: _Occupancy, lower: Sequence[Deployment], d: Deployment, cluster: int
) -> _Option | None:
    free = clusters.free[cluster] - d.request
    for v in lower:
        free += v.request
    if not d.request.fits_in(free + d.request):
        return None
    victims = []
    for v in sorted(lower, key=lambda v: (-v.priority, v.placed_at or 0, v.id)):
        if v.request.fits_in(free):
            free -= v.request
        else:
            victims.append(v)
    return _Option(cluster, tuple(victims)) if victims else None


def _lowest_first(
    clusters: _Occupancy, lower: Sequence[Deployment], d: Deployment, cluster: int
) -> _Option | None:
    free, victims = clusters.free[cluster], []
    for v in sorted(lower, key=lambda v: (v.priority, -(v.placed_at or 0), v.id)):
        free += v.request
        victims.append(v)
        if d.request.fits_in(free):
            return _Option(cluster, tuple(victims))
    return None


POLICIES: dict[str, Policy] = {
    "ours": make_plan,
    "fcfs": first_come_first_served,
    "strict": strict_priority,
    "kube": kube_preemption,
    "kube3": kube_within_budget,
    "smallest": smallest_first,
}

FIXED: Mapping[str, Mapping[str, int]] = {
    "kube3": {"preemption_budget": 3, "budget_window_seconds": 10**9},
}
"""Thresholds that belong to a policy, whatever the others use: 3 evictions each, ever."""
