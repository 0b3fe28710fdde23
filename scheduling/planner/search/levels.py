"""One attempt: place all deployments on paper, level by level from the highest priority.

At each level
1. the active deployments that are due keep their place as far as higher levels have left capacity;
2. starved deployments are placed, the longest waiting first, and a cluster is reserved for each
   that does not fit;
3. the other deployments of the level are placed: the ready, the drained and the displaced;
4. deployments for which preemption is suspended take capacity that is free beside all active
   deployments that are expected to stay.

After the last level, the suspended deployments that wait are tried once more, because fewer active
deployments may have stayed than was expected.

A level ignores all lower levels except the deployments that it may not evict. Therefore no
deployment waits for a lower one, and none is evicted that would fit next to the higher ones and
those that stay. The rules hold whatever order and clusters a `Guide` prefers.
"""

from scheduling.planner.problem import Level
from scheduling.planner.search.exchange import Exchange
from scheduling.planner.search.ordering import suspended_order
from scheduling.planner.search.placement import place_in_order, place_suspended
from scheduling.planner.search.retention import retain
from scheduling.planner.search.state import Guide, State


def place_level(state: State, guide: Guide) -> None:
    """Place the next level."""
    k = len(state.counts)
    level = state.problem.levels[k]
    state.effort += len(level.members) + len(state.free)
    retain(state, level, guide.sizes)
    if level.starved:
        place_in_order(state, level, level.starved, guide, starved=True)
    queue = _queue(state, k, level, guide)
    if queue:
        unplaced = place_in_order(state, level, queue, guide)
        if unplaced and guide.exchange and len(unplaced) < len(queue):
            _exchange(state, level, guide, queue, unplaced)
    if level.suspended:
        place_suspended(state, suspended_order(state.problem, level.suspended))
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
        _place_suspended_at_last(state)
    return True


def _place_suspended_at_last(state: State) -> None:
    problem = state.problem
    for k, level in enumerate(problem.levels):
        waiting = [d for d in level.suspended if d not in state.where]
        state.counts[k] += place_suspended(state, suspended_order(problem, waiting))
    state.free_at[problem.levels[-1].priority] = state.free.copy()


def _queue(state: State, k: int, level: Level, guide: Guide) -> list[int]:
    displaced = state.displaced.get(level.priority)
    if not displaced:
        return guide.orders[k]
    if guide.sizes is not None:
        return sorted([*displaced, *guide.orders[k]], key=guide.sizes.__getitem__)
    shares = state.problem.shares
    return sorted(displaced, key=lambda d: (shares[d], d)) + guide.orders[k]


def _exchange(
    state: State, level: Level, guide: Guide, queue: list[int], unplaced: list[int]
) -> None:
    """Exchange deployments that this level placed, so that more of the level run."""
    problem, reserved, where = state.problem, state.reserved, state.where
    placed: dict[int, list[int]] = {}
    before = {}
    for d in queue:
        c = where.get(d)
        if c is not None and c not in reserved and problem.home[d] != c:
            placed.setdefault(c, []).append(d)
            before[d] = c
    eligible = problem.eligible
    if reserved:
        eligible = [tuple([c for c in clusters if c not in reserved]) for clusters in eligible]
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
            state.place(d, c, level.priority, state.victims(problem.requests[d], c))
