"""Find the reservations of a plan, and measure how much capacity they keep idle."""

from collections.abc import Collection, Mapping

from scheduling.planner.plan import Plan
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources
from scheduling.planner.snapshot import Bin, Cluster, Deployment, Place, homes


def holders(plan: Plan) -> dict[Place, int]:
    """Return, by cluster and node, the deployment that the plan reserves capacity for."""
    return {
        (found["cluster"], found["node"]): wait.deployment
        for wait in plan.wait_reasons
        if wait.code == "reserved"
        for found in [wait.detail["reservation"]]
    }


def idle_share(
    clusters: Collection[Cluster],
    plan: Plan,
    ready: Mapping[int, Deployment],
    active: Collection[Deployment],
) -> float:
    """Return the share of the total capacity, 0 to 1, that the plan's reservations keep idle.

    `ready` and `active` are the deployments after the plan. On a node with a reservation, the
    free capacity up to the holder's request is reserved, as in the samples of the dashboard. The
    reservation keeps it idle if another ready deployment would fit into the free capacity there.
    The share is that of the dimension of which the holder requests the largest share.
    """
    reserved_for = holders(plan)
    total = sum((c.capacity for c in clusters), NOTHING)
    idle = 0.0
    at = homes(clusters, active) if reserved_for else {}
    for bin_ in (bin_ for cluster in clusters for bin_ in cluster.bins):
        if bin_.place not in reserved_for:
            continue
        holder = ready[reserved_for[bin_.place]]
        free = bin_.capacity - sum((d.request for d in active if at[d.id] == bin_.place), NOTHING)
        if any(d.id != holder.id and _fits(d, bin_, free) for d in ready.values()):
            name = _scarcest(holder.request, total)
            reserved = min(getattr(free, name), getattr(holder.request, name))
            idle += reserved / max(getattr(total, name), 1)
    return idle


def _fits(d: Deployment, bin_: Bin, free: Resources) -> bool:
    return d.admits(bin_) and d.request.fits_in(free)


def _scarcest(request: Resources, total: Resources) -> str:
    """Return the dimension of which the request is the largest share of the total."""
    return max(DIMENSIONS, key=lambda name: getattr(request, name) / max(getattr(total, name), 1))
