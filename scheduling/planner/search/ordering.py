"""The total orders in which deployments are placed. Each ends in the id."""

from dataclasses import dataclass

from scheduling.planner.policy import Order
from scheduling.planner.problem import NOWHERE, Problem, Shares, is_starved
from scheduling.planner.snapshot import Snapshot

_WEIGHTS = ((1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0))
Orders = tuple[list[int], ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of size: `sizes` by deployment, and each level's queue in a matching order."""

    orders: Orders
    sizes: list[int]


def queue_order(snapshot: Snapshot) -> list[int]:
    """Return the ids of the ready deployments, the first to be placed at the head.

    By level from the highest; within a level the starved ones first, the longest waiting at the
    head; then by dominant share and time in the queue, or by time in the queue alone, as the policy
    states. Deployments for which preemption is suspended come last in their level.
    """
    shares = Shares(list(snapshot.clusters))
    smallest_first = snapshot.policy.order == Order.MOST
    keys = []
    for d in snapshot.deployments:
        if d.cluster is None:
            starved = is_starved(d, snapshot)
            share = shares.of(d.request) if smallest_first and not starved else 0
            since = d.waits_since if starved else d.queued_at
            suspended = snapshot.is_suspended(d)
            keys.append((-d.priority, suspended, not starved, share, since, d.id))
    return [key[-1] for key in sorted(keys)]


def base_order(problem: Problem, members: list[int]) -> list[int]:
    """Return members of one level, none of them starved, in the order of the queue."""
    deployments, shares = problem.deployments, problem.shares
    if problem.snapshot.policy.order == Order.FIFO:
        return sorted(members, key=lambda d: (deployments[d].queued_at, d))
    return sorted(members, key=lambda d: (shares[d], deployments[d].queued_at, d))


def turn(problem: Problem, d: int) -> tuple[bool, int, int]:
    """Return the place of d among the deployments of one level and kind that are not starved.

    Those that are active on an open cluster go first, then the longest waiting.
    """
    home = problem.home[d]
    if home != NOWHERE and problem.open[home]:
        return False, 0, d
    return True, problem.deployments[d].queued_at, d


def suspended_order(problem: Problem, members: list[int]) -> list[int]:
    """Return members of one level for which preemption is suspended in the order of the queue."""
    deployments, snapshot = problem.deployments, problem.snapshot
    starved = {d for d in members if is_starved(deployments[d], snapshot)}
    others = base_order(problem, [d for d in members if d not in starved])
    return sorted(starved, key=lambda d: (deployments[d].waits_since, d)) + others


def base_orders(problem: Problem) -> Orders:
    """Return the ready and drained deployments of each level in the order of the queue."""
    return tuple(base_order(problem, level.ready + level.drained) for level in problem.levels)


def measures(problem: Problem) -> list[Measure]:
    """Return the measures to try: first the queue's order with the dominant share, then weighted
    sums of shares with the smallest first.
    """
    queue = base_orders(problem)
    requests = [d.request for d in problem.deployments]
    cpu, ram, gpu = problem.weights
    found = [Measure(queue, problem.shares)]
    for a, b, g in _WEIGHTS:
        sizes = [r.cpu_milli * cpu * a + r.ram_mib * ram * b + r.gpu * gpu * g for r in requests]
        orders = tuple(sorted(order, key=sizes.__getitem__) for order in queue)
        found.append(Measure(orders, sizes))
    return found
