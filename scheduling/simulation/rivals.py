"""The policies that ours is compared with, on the same snapshots."""

from collections.abc import Callable
from dataclasses import dataclass

from scheduling.core.plan import Eviction, Placement, Plan
from scheduling.core.planner import make_plan
from scheduling.core.problem import Shares
from scheduling.core.resources import Resources
from scheduling.core.snapshot import Deployment, Snapshot

Policy = Callable[[Snapshot], Plan]


class _Clusters:
    """Room, and who is where, while one of the rivals decides."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.room = {c.id: c.capacity for c in snapshot.clusters}
        self.on: dict[int, list[Deployment]] = {c.id: [] for c in snapshot.clusters}
        for d in snapshot.deployments:
            if d.cluster is not None:
                self.put(d, d.cluster)

    def put(self, d: Deployment, cluster: int) -> None:
        self.room[cluster] -= d.request
        self.on[cluster].append(d)

    def take(self, d: Deployment, cluster: int) -> None:
        self.room[cluster] += d.request
        self.on[cluster].remove(d)

    def with_room(self, request: Resources) -> int | None:
        """Return the cluster with room that has least of it left, GPU before CPU before RAM."""
        fits = [
            (room.gpu, room.cpu_milli, room.ram_mib, cluster)
            for cluster, room in self.room.items()
            if request.fits_in(room)
        ]
        return min(fits)[-1] if fits else None


def _ready(snapshot: Snapshot) -> list[Deployment]:
    return [d for d in snapshot.deployments if d.cluster is None]


def _in_order(snapshot: Snapshot, queue: list[Deployment], *, blocks: bool) -> Plan:
    """Place in order what fits; with `blocks`, nobody passes the first that does not."""
    clusters, placements, failed = _Clusters(snapshot), [], set()
    for d in queue:
        cluster = None if d.request in failed else clusters.with_room(d.request)
        if cluster is not None:
            clusters.put(d, cluster)
            placements.append(Placement(d.id, cluster, "placed", ""))
        elif blocks:
            break
        else:
            failed.add(d.request)
    return Plan(tuple(placements))


def first_come_first_served(snapshot: Snapshot) -> Plan:
    queue = sorted(_ready(snapshot), key=lambda d: (d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=True)


def strict_priority(snapshot: Snapshot) -> Plan:
    """By priority, then waiting time; smaller ones may pass; nobody is evicted."""
    queue = sorted(_ready(snapshot), key=lambda d: (-d.priority, d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=False)


def smallest_first(snapshot: Snapshot) -> Plan:
    """The smallest dominant share first, whatever its priority; nobody is evicted."""
    shares = Shares(list(snapshot.clusters))
    queue = sorted(_ready(snapshot), key=lambda d: (shares.of(d.request), d.queued_at, d.id))
    return _in_order(snapshot, queue, blocks=False)


@dataclass(frozen=True, slots=True)
class _Option:
    cluster: int
    victims: tuple[Deployment, ...]

    def harm(self) -> tuple[int, int, int, int, int]:
        """Return what kube-scheduler compares: highest priority, sum, number, latest start."""
        priorities = [v.priority for v in self.victims]
        latest = max(v.started_at or 0 for v in self.victims)
        return max(priorities), sum(priorities), len(priorities), -latest, self.cluster


def kube_preemption(snapshot: Snapshot) -> Plan:
    """By priority; where nothing fits: remove all lower ones, fit, put back the highest first."""
    clusters = _Clusters(snapshot)
    started: dict[int, int] = {}
    evicted: dict[int, tuple[int, int]] = {}
    failed: set[tuple[int, Resources]] = set()
    for d in sorted(_ready(snapshot), key=lambda d: (-d.priority, d.queued_at, d.id)):
        if (d.priority, d.request) in failed:
            continue
        cluster = clusters.with_room(d.request)
        if cluster is None:
            options = [o for c in clusters.room if (o := _option(clusters, d, c))]
            if not options:
                failed.add((d.priority, d.request))
                continue
            best = min(options, key=_Option.harm)
            cluster = best.cluster
            for victim in best.victims:
                clusters.take(victim, cluster)
                evicted[victim.id] = (cluster, d.id)
        clusters.put(d, cluster)
        started[d.id] = cluster
    return Plan(
        tuple(Placement(d, c, "placed", "") for d, c in started.items()),
        tuple(Eviction(v, c, d, False, "preempted", "") for v, (c, d) in evicted.items()),
    )


def _option(clusters: _Clusters, d: Deployment, cluster: int) -> _Option | None:
    lower = [v for v in clusters.on[cluster] if v.priority < d.priority]
    room = clusters.room[cluster] - d.request
    for v in lower:
        room += v.request
    if not d.request.fits_in(room + d.request):
        return None
    victims = []
    for v in sorted(lower, key=lambda v: (-v.priority, v.started_at or 0, v.id)):
        if v.request.fits_in(room):
            room -= v.request
        else:
            victims.append(v)
    return _Option(cluster, tuple(victims)) if victims else None


POLICIES: dict[str, Policy] = {
    "ours": make_plan,
    "fcfs": first_come_first_served,
    "strict": strict_priority,
    "kube": kube_preemption,
    "smallest": smallest_first,
}
