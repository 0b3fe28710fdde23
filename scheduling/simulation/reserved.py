"""Find the reservations of a plan, and measure how much capacity they keep idle."""

from collections.abc import Collection, Mapping

from scheduling.planner.plan import Plan
from scheduling.planner.resources import DIMENSIONS, NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment


def holders(plan: Plan) -> dict[int, int]:
    """Return, by cluster, the deployment that the plan reserves capacity for."""
    return {
        wait.detail["reservation"]["cluster"]: wait.deployment
        for wait in plan.wait_reasons
        if wait.code == "reserved"
    }


def idle_share(
    clusters: Collection[Cluster],
    plan: Plan,
    ready: Mapping[int, Deployment],
    active: Collection[Deployment],
) -> float:
    """Return the share of the total capacity, 0 to 1, that the plan's reservations keep idle.

    `ready` and `active` are the deployments after the plan. On a cluster with a reservation, the
    free capacity up to the holder's request is reserved, as in the samples of the dashboard. The
    reservation keeps it idle if another ready deployment would fit into the free capacity there.
    The share is that of the dimension of which the holder requests the largest share.
    """
    reserved_for = holders(plan)
    total = sum((c.capacity for c in clusters), NOTHING)
    idle = 0.0
    for cluster in clusters:
        if cluster.id not in reserved_for:
            continue
        holder = ready[reserved_for[cluster.id]]
        free = cluster.capacity - sum(
            (d.request for d in active if d.cluster == cluster.id), NOTHING
        )
        if any(d.id != holder.id and _fits(d, cluster, free) for d in ready.values()):
            name = _scarcest(holder.request, total)
            reserved = min(getattr(free, name), getattr(holder.request, name))
            idle += reserved / max(getattr(total, name), 1)
    return idle


def _fits(d: Deployment, cluster: Cluster, free: Resources) -> bool:
    return d.requested_cluster in (None, cluster.id) and d.request.fits_in(free)


def _scarcest(request: Resources, total: Resources) -> str:
    """Return the dimension of which the request is the largest share of the total."""
    return max(DIMENSIONS, key=lambda name: getattr(request, name) / max(getattr(total, name), 1))
