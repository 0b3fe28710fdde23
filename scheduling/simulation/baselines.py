"""The policies that the planner is compared with, on the same snapshots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Eviction, Placement, Plan
from scheduling.planner.shares import Shares
from scheduling.planner.snapshot import ClusterState, Deployment, Place, Snapshot

Policy = Callable[[Snapshot], Plan]


class _Occupancy:
    """The free capacity and the deployments of each node while a policy decides."""

    def __init__(self, snapshot: Snapshot) -> None:
        bins = snapshot.bins
        self.free = {bin_.place: bin_.capacity for bin_ in bins}
        self._open = [bin_ for bin_ in bins if bin_.state == ClusterState.ACTIVE]
        self.placed: dict[Place, list[Deployment]] = {place: [] for place in self.free}
        homes = snapshot.homes()
        for d in snapshot.deployments:
            if d.id in homes:
                self.place(d, homes[d.id])

    def place(self, d: Deployment, place: Place) -> None:
        self.free[place] -= d.request
        self.placed[place].append(d)

    def remove(self, d: Deployment, place: Place) -> None:
        self.free[place] += d.request
        self.placed[place].remove(d)

    def eligible(self, d: Deployment) -> list[Place]:
        return [bin_.place for bin_ in self._open if d.admits(bin_)]

    def best_fit(self, d: Deployment) -> Place | None:
        """Return the node that d fits on with the least free, GPU before CPU before RAM."""
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
    nodes, placements, failed = _Occupancy(snapshot), [], set()
    for d in queue:
        shape = d.request, d.requested_cluster, d.require
        place = None if shape in failed else nodes.best_fit(d)
        if place is not None:
            nodes.place(d, place)
            placements.append(Placement(d.id, *place, "placed", ""))
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
    place: Place
    victims: tuple[Deployment, ...]

    def harm(self) -> tuple[int, int, int, int, Place]:
        """Return what kube-scheduler compares: highest priority, sum, number, latest placement."""
        priorities = [v.priority for v in self.victims]
        latest = max(v.placed_at or 0 for v in self.victims)
        return max(priorities), sum(priorities), len(priorities), -latest, self.place


_Search = Callable[[_Occupancy, Sequence[Deployment], Deployment, Place], _Option | None]


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
    nodes = _Occupancy(snapshot)
    started: dict[int, Place] = {}
    evicted: dict[int, tuple[Place, int]] = {}
    failed: set[tuple[object, ...]] = set()
    for d in sorted(_ready(snapshot), key=lambda d: (-d.priority, d.queued_at, d.id)):
        shape = d.priority, d.request, d.requested_cluster, d.require
        if shape in failed:
            continue
        place = nodes.best_fit(d)
        if place is None:
            options = []
            for p in nodes.eligible(d):
                lower = [v for v in nodes.placed[p] if v.priority < d.priority and evictable(v)]
                options += [o for o in [option(nodes, lower, d, p)] if o]
            if not options:
                failed.add(shape)
                continue
            best = min(options, key=_Option.harm)
            place = best.place
            for victim in best.victims:
                nodes.remove(victim, place)
                evicted[victim.id] = (place, d.id)
        nodes.place(d, place)
        started[d.id] = place
    return Plan(
        tuple(Placement(d, *place, "placed", "") for d, place in started.items()),
        tuple(Eviction(v, *p, d, False, "preempted", "") for v, (p, d) in evicted.items()),
    )


def _restore_highest(
    nodes: _Occupancy, lower: Sequence[Deployment], d: Deployment, place: Place
) -> _Option | None:
    free = nodes.free[place] - d.request
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
    return _Option(place, tuple(victims)) if victims else None


def _lowest_first(
    nodes: _Occupancy, lower: Sequence[Deployment], d: Deployment, place: Place
) -> _Option | None:
    free, victims = nodes.free[place], []
    for v in sorted(lower, key=lambda v: (v.priority, -(v.placed_at or 0), v.id)):
        free += v.request
        victims.append(v)
        if d.request.fits_in(free):
            return _Option(place, tuple(victims))
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
