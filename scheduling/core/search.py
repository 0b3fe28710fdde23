"""Try several ways to plan and keep the best. The number of tries is bounded, not the time."""

from collections.abc import Callable, Iterator

from scheduling.core.descent import Descent, Guide, Outcome
from scheduling.core.ordering import base_order
from scheduling.core.packed import unpack
from scheduling.core.policy import Order
from scheduling.core.problem import Problem

Score = tuple[tuple[int, ...], int, int, int]

_WORK = 20_000  # deployments looked at, over all tries


def best_outcome(problem: Problem) -> Outcome:
    """Return what runs most, level by level from the highest, and among that what harms least."""
    tries = max(1, _WORK // max(len(problem.requests), 1))
    outcomes = (
        Descent(problem, guide).run()
        for guide, _ in zip(_guides(problem), range(tries), strict=False)
    )
    return min(outcomes, key=score)


def score(outcome: Outcome) -> Score:
    """Return what an outcome costs: the smaller the better, the earlier entries count first.

    How many run on each level from the highest, negated; then those that lose their place, those
    that lose or change it, and the work that is lost.
    """
    counts = tuple(-count for count in outcome.counts)
    return counts, outcome.lost, outcome.evicted, outcome.loss


def _guides(problem: Problem) -> Iterator[Guide]:
    """Yield the ways to try, the most promising first."""
    for order in _orders(problem):
        for tight in (True, False):
            yield Guide(order, tight)


def _orders(problem: Problem) -> Iterator[tuple[list[int], ...]]:
    """Yield orders of what may start on each level; the first is the order of the queue."""
    members = [level.ready + level.drained for level in problem.levels]
    queue = tuple(base_order(problem, level) for level in members)
    yield queue
    if problem.snapshot.policy.order == Order.FIFO:
        return
    for size in _sizes(problem):
        yield tuple(sorted(level, key=size) for level in queue)


def _sizes(problem: Problem) -> list[Callable[[int], int]]:
    """Return measures of size other than the dominant share."""
    cpu, ram, gpu = problem.weights
    vectors = [unpack(request) for request in problem.requests]
    return [
        lambda d: vectors[d].cpu_milli * cpu + vectors[d].ram_mib * ram + vectors[d].gpu * gpu,
        lambda d: vectors[d].gpu,
        lambda d: vectors[d].cpu_milli,
        lambda d: vectors[d].ram_mib,
    ]
