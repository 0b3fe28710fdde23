"""The order in which a plan considers the ready deployments, also those that it left out."""

from collections import defaultdict
from functools import partial
from operator import attrgetter

from scheduling.planner.policy import Order
from scheduling.planner.problem import Level, Problem
from scheduling.planner.queue_order import ServedLevel
from scheduling.planner.search.ordering import level_order
from scheduling.planner.shares import Shares
from scheduling.planner.snapshot import Deployment


def served_levels(problem: Problem) -> list[ServedLevel]:
    """Return the ready deployments by priority, the highest first."""
    if problem.has_left_out:
        return _of_snapshot(problem)
    return [_of_level(problem, level) for level in problem.levels]


def _of_level(problem: Problem, level: Level) -> ServedLevel:
    def ordered() -> list[int]:
        return [problem.deployments[d].id for d in level_order(problem, level)]

    ids = [problem.deployments[d].id for d in (*level.ready, *level.suspended)]
    return ServedLevel(ids, ordered)


def _of_snapshot(problem: Problem) -> list[ServedLevel]:
    """Return the levels with those that were left out, as if they had been planned."""
    by_priority: defaultdict[int, list[Deployment]] = defaultdict(list)
    for deployment in problem.snapshot.deployments:
        if deployment.cluster is None:
            by_priority[deployment.priority].append(deployment)
    turns = {
        level.priority: [
            problem.deployments[d].id for d in level.taking_turns if problem.goes_first(d)
        ]
        for level in problem.levels
    }
    return [
        ServedLevel(
            [d.id for d in members], partial(_ordered, problem, members, turns.get(priority, []))
        )
        for priority, members in sorted(by_priority.items(), reverse=True)
    ]


def _ordered(problem: Problem, members: list[Deployment], first: list[int]) -> list[int]:
    snapshot = problem.snapshot
    queue = sorted(members, key=attrgetter("queued_at", "id"))
    if snapshot.policy.order == Order.MOST:
        share = Shares(list(snapshot.clusters)).of_all(queue)
        queue = [queue[at] for at in sorted(range(len(queue)), key=share.__getitem__)]
    if first or problem.suspended:
        place = {pk: number for number, pk in enumerate(first)}
        queue.sort(key=lambda d: (snapshot.is_suspended(d), place.get(d.id, len(first))))
    return [d.id for d in queue]
