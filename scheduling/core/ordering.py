"""The total order in which the planner serves ready deployments; every tie ends in the id."""

from scheduling.core.resources import DIMENSIONS
from scheduling.core.snapshot import Deployment, Snapshot


def queue_order(snapshot: Snapshot) -> list[int]:
    """Return the ids of the ready deployments, the one that is served first at the head."""
    ready = [d for d in snapshot.deployments if d.cluster is None]
    return [d.id for d in sorted(ready, key=lambda d: order_key(snapshot, d))]


def order_key(snapshot: Snapshot, d: Deployment) -> tuple[int, ...]:
    """Level from the highest; in it the starving, longest waiting first; then as the policy says."""
    starving = snapshot.now - d.queued_at > snapshot.policy.starvation_seconds
    share = 0 if starving or snapshot.policy.order == "fifo" else dominant_share(snapshot, d)
    return (-d.priority, not starving, share, d.queued_at, d.id)


def dominant_share(snapshot: Snapshot, d: Deployment) -> int:
    """Return the largest share that it requests of all capacity, in parts per 10**9."""
    totals = {n: sum(getattr(c.capacity, n) for c in snapshot.clusters) for n in DIMENSIONS}
    return (
        max(getattr(d.request, n) * 10**9 // totals[n] for n in DIMENSIONS if totals[n])
        if any(totals.values())
        else 0
    )
