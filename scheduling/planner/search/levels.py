"""One try at a plan: everything is placed anew on paper, level by level from the highest.

At each level
1. the active ones whose fate is due keep their place, unless those above have taken the room;
2. those that starve are placed, the longest waiting first, and room is held for the rest of them;
3. the others are placed: ready ones, and those that lost their place in step 1 or to a drain.

What lies below a level does not count there, except what none of the level may evict. So nobody
waits for a lower one, and nobody leaves who would fit beside those above and beside those who stay:
the rules hold whatever order and cluster a `Guide` prefers.
"""

from scheduling.planner.problem import Level
from scheduling.planner.search.exchange import Exchange
from scheduling.planner.search.placement import start
from scheduling.planner.search.retention import settle
from scheduling.planner.search.state import Guide, State


def step(state: State, guide: Guide) -> None:
    """Place the next level."""
    k = len(state.counts)
    level = state.problem.levels[k]
    state.effort += len(level.members) + len(state.free)
    settle(state, level, guide.sizes)
    if level.starved:
        start(state, level, level.starved, guide, starved=True)
    queue = _queue(state, k, level, guide)
    if queue:
        left = start(state, level, queue, guide)
        if left and guide.exchange and len(left) < len(queue):
            _exchange(state, level, guide, queue, left)
    state.counts.append(len(level.members & state.where.keys()))
    state.free_at[level.priority] = state.free.copy()


def descend(state: State, guide: Guide, beat: list[int] | None = None) -> bool:
    """Place the levels that are left; False as soon as they are sure to hold fewer than `beat`,
    which counts by level.
    """
    while len(state.counts) < len(state.problem.levels):
        step(state, guide)
        if beat and state.counts < beat[: len(state.counts)]:
            return False
    return True


def _queue(state: State, k: int, level: Level, guide: Guide) -> list[int]:
    displaced = state.displaced.get(level.priority)
    if not displaced:
        return guide.orders[k]
    if guide.sizes is not None:
        return sorted([*displaced, *guide.orders[k]], key=guide.sizes.__getitem__)
    shares = state.problem.shares
    return sorted(displaced, key=lambda d: (shares[d], d)) + guide.orders[k]


def _exchange(state: State, level: Level, guide: Guide, queue: list[int], left: list[int]) -> None:
    """Let the level's own starters make room for more of the level."""
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
    exchange = Exchange(problem, eligible, state.free.copy(), placed, left, sizes)
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
