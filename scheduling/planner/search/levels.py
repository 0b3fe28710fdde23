"""One attempt: place all deployments on paper, level by level from the highest priority.

At each level
1. the active deployments that are due keep their place as far as higher levels have left capacity;
2. deployments that go first because they take turns are placed, the longest waiting at the head,
   and a node is reserved for each that does not fit;
3. the other deployments of the level are placed: the ready, the drained and the displaced; of equal
   ones, those that have waited longest get the places;
4. deployments for which preemption is suspended take capacity that is free beside all active
   deployments that are expected to stay.

After the last level, the suspended deployments that wait are tried once more, because fewer active
deployments may have stayed than was expected.

A level ignores all lower levels except the deployments that it may not evict. Therefore no
deployment waits for a lower one, and none is evicted that would fit next to the higher ones and
those that stay. The rules hold whatever order and nodes a `Guide` prefers.
"""

from collections.abc import Sequence

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Level
from scheduling.planner.search.exchange import Exchange
from scheduling.planner.search.ordering import base_order, precedence
from scheduling.planner.search.placement import place_in_order, place_suspended, place_turns
from scheduling.planner.search.reservation import record_refusals
from scheduling.planner.search.retention import retain
from scheduling.planner.search.state import Guide, State


def place_level(state: State, guide: Guide) -> None:
    """Place the next level."""
    k = len(state.counts)
    level = state.problem.levels[k]
    state.effort += len(level.members) + len(state.free)
    retain(state, level, guide)
    queue, first = _queue(state, k, level, guide), set[int]()
    if level.taking_turns:
        first = place_turns(state, level, guide)
        queue = [d for d in queue if d not in first]
    if queue:
        place_in_order(state, queue, guide)
        unplaced = [d for d in queue if d not in state.where] if guide.exchange else []
        if unplaced and len(unplaced) < len(queue):
            _exchange(state, guide, queue, _unequal(state, unplaced, first))
            _longest_waiting_first(state, queue)
    if state.reserved:
        record_refusals(state, level)
    if level.suspended:
        place_suspended(state, base_order(state.problem, level.suspended), guide)
    state.counts.append(len(level.members & state.where.keys()))
    state.free_at[level.priority] = state.free.copy()


def place_levels(state: State, guide: Guide, bound: list[int] | None = None) -> bool:
    """Place the remaining levels. Stop and return False once the counts are below `bound`.

    Counts are numbers of active deployments by level, compared from the highest level down.
    """
    while len(state.counts) < len(state.problem.levels):
        place_level(state, guide)
        if bound and state.counts < bound[: len(state.counts)]:
            return False
    if state.problem.suspended:
        _place_suspended_at_last(state, guide)
    return True


def _place_suspended_at_last(state: State, guide: Guide) -> None:
    problem = state.problem
    for k, level in enumerate(problem.levels):
        waiting = [d for d in level.suspended if d not in state.where]
        state.counts[k] += place_suspended(state, base_order(problem, waiting), guide)
    state.free_at[problem.levels[-1].priority] = state.free.copy()


def _queue(state: State, k: int, level: Level, guide: Guide) -> list[int]:
    problem, displaced = state.problem, [*state.displaced.get(level.priority, ())]
    if guide.orders:
        queue = guide.orders[k]
    else:
        largest, requests = state.largest_free(), problem.requests
        displaced = largest.fitting(displaced, requests)
        queue = base_order(problem, largest.fitting(level.ready + level.drained, requests))
    if displaced and guide.sizes is not None:
        queue = sorted([*displaced, *queue], key=guide.sizes.__getitem__)
    elif displaced:
        shares = problem.shares
        queue = sorted(displaced, key=lambda d: (shares[d], d)) + queue
    return sorted(queue, key=lambda d: d not in guide.prefer) if guide.preferred_first else queue


def _unequal(state: State, unplaced: list[int], first: set[int]) -> list[int]:
    """Return those that are not of the same kind as a waiting deployment that goes first."""
    kinds = state.problem.kinds
    waiting = {kinds[d] for d in first if d not in state.where}
    return [d for d in unplaced if kinds[d] not in waiting]


def _exchange(state: State, guide: Guide, queue: list[int], unplaced: list[int]) -> None:
    """Exchange deployments that this level placed, so that more of the level run."""
    problem, reserved, where = state.problem, state.reserved, state.where
    placed: dict[int, list[int]] = {}
    before = {}
    for d in queue:
        c = where.get(d)
        if c is not None and c not in reserved and problem.home[d] != c:
            placed.setdefault(c, []).append(d)
            before[d] = c
    eligible: Sequence[Sequence[int]] = problem.eligible
    if reserved:
        distinct = {id(nodes): nodes for nodes in eligible}.values()
        left = {id(nodes): tuple([c for c in nodes if c not in reserved]) for nodes in distinct}
        eligible = [left[id(nodes)] for nodes in eligible]
    sizes = problem.shares if guide.sizes is None else guide.sizes
    exchange = Exchange(problem, eligible, state.free.copy(), placed, unplaced, sizes)
    exchange.run()
    state.effort += exchange.effort
    if not exchange.changed:
        return
    after = {d: c for c, members in placed.items() for d in members}
    for d, c in before.items():
        if after.get(d) != c:
            state.unplace(d)
    for d, c in after.items():
        if before.get(d) != c:
            state.place(d, c, state.victims(problem.requests[d], c)[0])


def _longest_waiting_first(state: State, queue: list[int]) -> None:
    """Give places of deployments in the queue to those of the same kind that come before them.

    An attempt may place a level in any order, and an exchange takes any deployment of a kind. None
    of them is to overtake an equal one.
    """
    problem, where = state.problem, state.where
    kinds, home = problem.kinds, problem.home
    waiting: dict[int, list[int]] = {}
    for d in queue:
        if d not in where:
            waiting.setdefault(kinds[d], []).append(d)
    placed: dict[int, list[int]] = {}
    for d in queue:
        if kinds[d] in waiting and where.get(d, home[d]) != home[d]:
            placed.setdefault(kinds[d], []).append(d)
    for kind, members in placed.items():
        first = sorted((precedence(problem, d) for d in waiting[kind]), reverse=True)
        for last in sorted((precedence(problem, d) for d in members), reverse=True):
            if not first or last < first[-1]:
                break
            if _replace(state, last[-1], first[-1][-1]):
                first.pop()


def _replace(state: State, other: int, d: int) -> bool:
    """Place d, which is equal to the other one, in its place, unless that is reserved for a third.

    Return whether that was done.
    """
    c, request = state.where[other], state.problem.requests[d]
    if (state.less_reserved(d, c, state.free[c] + request) - request) & OVERDRAWN:
        return False
    state.unplace(other)
    state.place(d, c)
    return True
