"""Which capacity a plan reserves, and how much of it stays idle because of that."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from scheduling.planner.plan import Plan
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Bin, Cluster, Deployment, Place, Snapshot, homes


def holders(plan: Plan) -> dict[Place, int]:
    """Return, by cluster and node, the deployment that the plan reserves capacity for."""
    return {
        (found["cluster"], found["node"]): wait.deployment
        for wait in plan.reserved
        for found in [wait.detail["reservation"]]
    }


def idle_after(snapshot: Snapshot, plan: Plan, backlog: Backlog) -> dict[int, Resources]:
    """Return what the plan's reservations keep idle once the plan is carried out: see `idle`.

    The plan's victims do not count as ready yet; the next plan knows which of them are in back-off.
    """
    reserved_for = holders(plan)
    if not reserved_for:
        return {}
    placed: dict[int, Place] = {p.deployment: (p.cluster, p.node) for p in plan.placements}
    placed |= {m.deployment: (m.target, m.target_node) for m in plan.moves}
    evicted = {e.deployment for e in plan.evictions}
    ready, active = {}, []
    concerned = backlog.of_ids({*placed, *reserved_for.values()})
    for d in (backlog.others | {d.id: d for d in concerned}).values():
        if d.id in placed:
            cluster, node = placed[d.id]
            active.append(replace(d, cluster=cluster, node=node))
        elif d.cluster is None:
            ready[d.id] = d
        elif d.id not in evicted:
            active.append(d)
    for group in backlog.groups.values():
        # One of the smallest fits where any other does, unless it is no longer ready or a holder.
        is_enough = not any(d.id in placed or d.id in ready for d in group.smallest)
        found = group.smallest if is_enough else group.members
        ready.update((d.id, d) for d in found if d.id not in placed)
    return idle(snapshot.clusters, plan, ready, active)


def idle(
    clusters: Collection[Cluster],
    plan: Plan,
    ready: Mapping[int, Deployment],
    active: Collection[Deployment],
) -> dict[int, Resources]:
    """Return, by cluster, the capacity that the plan's reservations keep idle.

    `ready` and `active` are the deployments after the plan. On a node with a reservation, the
    free capacity up to the holder's request is reserved, as in the samples of the dashboard. The
    reservation keeps it idle if another ready deployment would fit into the free capacity there.
    Only the dimension counts of which the holder requests the largest share of the total capacity.
    """
    reserved_for = holders(plan)
    if not reserved_for:
        return {}
    total = _total(clusters)
    free = _free([b for c in clusters for b in c.bins if b.place in reserved_for], clusters, active)
    most = _most([left for _, left in free])
    candidates = _smallest([d for d in ready.values() if d.request.fits_in(most)])
    found: dict[int, Resources] = defaultdict(lambda: NOTHING)
    for bin_, left in free:
        holder = ready[reserved_for[bin_.place]]
        if any(d.id != holder.id and _fits(d, bin_, left) for d in candidates):
            name = _scarcest(holder.request, total)
            reserved = min(getattr(left, name), getattr(holder.request, name))
            found[bin_.cluster.id] += replace(NOTHING, **{name: reserved})
    return dict(found)


def idle_share(
    clusters: Collection[Cluster],
    plan: Plan,
    ready: Mapping[int, Deployment],
    active: Collection[Deployment],
) -> float:
    """Return the share of the total capacity, 0 to 1, that reservations keep idle: see `idle`."""
    amounts = sum(idle(clusters, plan, ready, active).values(), NOTHING).to_json()
    capacity = _total(clusters).to_json()
    return sum(amount / max(capacity[name], 1) for name, amount in amounts.items())


def _total(clusters: Iterable[Cluster]) -> Resources:
    return sum((c.capacity for c in clusters), NOTHING)


def _free(
    bins: Iterable[Bin], clusters: Collection[Cluster], active: Collection[Deployment]
) -> list[tuple[Bin, Resources]]:
    """Return these nodes with the capacity that is free on each."""
    allocated: dict[Place, Resources] = defaultdict(lambda: NOTHING)
    at = homes(clusters, active)
    for d in active:
        allocated[at[d.id]] += d.request
    return [(bin_, bin_.capacity - allocated[bin_.place]) for bin_ in bins]


def _most(amounts: Sequence[Resources]) -> Resources:
    """Return the most of each dimension that one of the amounts has."""
    return Resources(*[max([getattr(a, name) for a in amounts], default=0) for name in DIMENSIONS])


def _smallest(ready: Iterable[Deployment]) -> list[Deployment]:
    """Leave out each deployment that fits only where two others fit, of which one is no holder."""
    by_class: dict[object, dict[Resources, list[Deployment]]] = defaultdict(dict)
    for d in ready:
        by_class[d.requested_cluster, d.require].setdefault(d.request, []).append(d)
    smallest = []
    for kinds in by_class.values():
        kept: list[Deployment] = []
        for request in sorted(kinds, key=lambda r: (r.gpu, r.cpu_milli, r.ram_mib)):
            smaller = (d for d in kept if d.request.fits_in(request))
            kept += kinds[request][: 2 - sum(1 for _ in islice(smaller, 2))]
        smallest += kept
    return smallest


def _fits(d: Deployment, bin_: Bin, free: Resources) -> bool:
    return d.admits(bin_) and d.request.fits_in(free)


def _scarcest(request: Resources, total: Resources) -> str:
    """Return the dimension of which the request is the largest share of the total."""
    return max(DIMENSIONS, key=lambda name: getattr(request, name) / max(getattr(total, name), 1))
