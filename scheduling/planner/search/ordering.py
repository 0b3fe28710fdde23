"""The total orders in which deployments are placed. Each ends in the id."""

from collections.abc import Iterator
from dataclasses import dataclass

from scheduling.planner.policy import Order
from scheduling.planner.problem import NOWHERE, Level, Problem

_WEIGHTS = ((1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0))
Orders = tuple[list[int], ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of size: `sizes` by deployment, and each level's queue in a matching order."""

    orders: Orders
    sizes: list[int]


def level_order(problem: Problem, level: Level) -> list[int]:
    """Return the ready deployments of a level, the first to be placed at the head.

    First come the ones that go first by rule 9, the longest waiting at the head; then by dominant
    share and time in the queue, or by time in the queue alone, as the policy states. Deployments
    for which preemption is suspended come last.
    """
    first = [d for d in level.taking_turns if problem.goes_first(d)]
    ahead = set(first)
    others = [d for d in level.ready if d not in ahead]
    return [*first, *base_order(problem, others), *base_order(problem, level.suspended)]


def base_order(problem: Problem, members: list[int]) -> list[int]:
    """Return members of one level in the order of the queue, regardless of turns."""
    queue = sorted(members)
    queue.sort(key=problem.queued_at.__getitem__)
    if problem.snapshot.policy.order == Order.MOST:
        queue.sort(key=problem.shares.__getitem__)  # those with equal shares stay in order
    return queue


def precedence(problem: Problem, d: int) -> tuple[bool, int, int]:
    """Return the place of d among the deployments of one level and kind whose turn it is not.

    Those that are active on an open node go first, then the longest waiting.
    """
    home = problem.home[d]
    if home != NOWHERE and problem.open[home]:
        return False, 0, d
    return True, problem.deployments[d].queued_at, d


def base_orders(problem: Problem) -> Orders:
    """Return the ready and drained deployments of each level in the order of the queue."""
    return tuple(base_order(problem, level.ready + level.drained) for level in problem.levels)


def measures(problem: Problem) -> Iterator[Measure]:
    """Yield the measures to try: first the queue's order with the dominant share, then weighted
    sums of shares with the smallest first.
    """
    queue = base_orders(problem)
    requests = [d.request for d in problem.deployments]
    cpu, ram, gpu = problem.weights
    yield Measure(queue, problem.shares)
    for a, b, g in _WEIGHTS:
        sizes = [r.cpu_milli * cpu * a + r.ram_mib * ram * b + r.gpu * gpu * g for r in requests]
        orders = tuple(sorted(order, key=sizes.__getitem__) for order in queue)
        yield Measure(orders, sizes)
