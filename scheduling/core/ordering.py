"""The total orders in which deployments are served; each ends in the id."""

from scheduling.core.policy import Order
from scheduling.core.problem import Problem, Shares, is_starved
from scheduling.core.snapshot import Snapshot


def queue_order(snapshot: Snapshot) -> list[int]:
    """Return the ids of the ready deployments, the one that is served first at the head.

    By level from the highest; within it those that starve, the longest waiting first; then by
    dominant share and waiting time, or by waiting time alone, as the policy says.
    """
    shares = Shares(list(snapshot.clusters))
    smallest_first = snapshot.policy.order == Order.MOST
    keys = []
    for d in snapshot.deployments:
        if d.cluster is None:
            starved = is_starved(d, snapshot)
            share = shares.of(d.request) if smallest_first and not starved else 0
            keys.append((-d.priority, not starved, share, d.queued_at, d.id))
    return [key[-1] for key in sorted(keys)]


def base_order(problem: Problem, members: list[int]) -> list[int]:
    """Return members of one level, none starved, in the order of the queue."""
    deployments, shares = problem.deployments, problem.shares
    if problem.snapshot.policy.order == Order.FIFO:
        return sorted(members, key=lambda d: (deployments[d].queued_at, d))
    return sorted(members, key=lambda d: (shares[d], deployments[d].queued_at, d))
