"""The order in which a plan considers the ready deployments, also those that it left out."""

from collections import defaultdict
from collections.abc import Sequence, Set
from functools import partial
from operator import attrgetter

from scheduling.planner.policy import Order
from scheduling.planner.problem import Level, Problem
from scheduling.planner.queue_order import ServedLevel
from scheduling.planner.search.ordering import level_order
from scheduling.planner.shares import Shares
from scheduling.planner.shortlist import Backlog, Group


def planned_levels(problem: Problem) -> list[ServedLevel]:
    """Return the ready deployments that are planned by priority, the highest first."""
    return [_of_level(problem, level) for level in problem.levels]


def _of_level(problem: Problem, level: Level) -> ServedLevel:
    def ordered() -> list[int]:
        return [problem.deployments[d].id for d in level_order(problem, level)]

    ids = [problem.deployments[d].id for d in (*level.ready, *level.suspended)]
    return ServedLevel(frozenset(ids), ordered)


def all_levels(problem: Problem, backlog: Backlog) -> list[ServedLevel]:
    """Return the levels with those that were left out, as if they had been planned.

    Groups keep the ids of their members, so most levels cost nothing until they are put in order.
    """
    by_priority: defaultdict[int, list[Group]] = defaultdict(list)
    for (priority, *_), group in backlog.groups.items():
        by_priority[priority].append(group)
    for d in backlog.others.values():
        if d.cluster is None:
            by_priority[d.priority].append(Group([d]))
    turns = {
        level.priority: [
            problem.deployments[d].id for d in level.taking_turns if problem.goes_first(d)
        ]
        for level in problem.levels
    }
    return [
        ServedLevel(_ids(groups), partial(_ordered, problem, groups, turns.get(priority, [])))
        for priority, groups in sorted(by_priority.items(), reverse=True)
    ]


def _ids(groups: Sequence[Group]) -> Set[int]:
    return groups[0].ids if len(groups) == 1 else frozenset().union(*[each.ids for each in groups])


def _ordered(problem: Problem, groups: Sequence[Group], first: list[int]) -> list[int]:
    snapshot = problem.snapshot
    queue = sorted([d for each in groups for d in each.members], key=attrgetter("queued_at", "id"))
    if snapshot.policy.order == Order.MOST:
        share = Shares(list(snapshot.clusters)).of_all(queue)
        queue = [queue[at] for at in sorted(range(len(queue)), key=share.__getitem__)]
    if first or problem.suspended:
        place = {pk: number for number, pk in enumerate(first)}
        queue.sort(key=lambda d: (snapshot.is_suspended(d), place.get(d.id, len(first))))
    return [d.id for d in queue]
