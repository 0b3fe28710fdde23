"""Who of the active ones keeps its place at a level."""

from collections.abc import Collection

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Due, Level, Problem
from scheduling.planner.search.preemption import fewest_victims, largest_victims
from scheduling.planner.search.state import State


def settle(state: State, level: Level, sizes: list[int] | None) -> None:
    """Decide about those who are due: they stay unless those above have taken the room.

    Where not all can stay, the largest of the lowest leave by `sizes`, or those who lose least.
    """
    requests = state.problem.requests
    for due in level.due:
        c = due.cluster
        state.load[c] -= due.total
        if state.gone:
            state.load[c] += sum([requests[d] for d in due.members if d in state.gone])
        left = state.free[c] - due.total
        if left & OVERDRAWN:
            _choose(state, due, level.priority, sizes)
        else:
            state.free[c] = left
            state.where |= due.home
            if due.guarded:
                state.guarded[c] = state.guarded.get(c, ()) + due.guarded


def _choose(state: State, due: Due, level: int, sizes: list[int] | None) -> None:
    """Keep as many as fit, the highest first; the others lose their place.

    Of one priority the released come first: a higher level may already wait because of them, and
    it would wait for nothing if they left in favour of one that this level could have evicted.
    """
    problem, c = state.problem, due.cluster
    requests = problem.requests
    released = _by_priority(problem, _released(state, c))
    groups = [*released.items(), *due.groups.items()]
    for priority, group in sorted(groups, key=lambda item: -item[0]):
        leave: Collection[int]
        if sizes is None:
            leave = fewest_victims(problem, group, state.free[c], lambda d: _cost(state, d, c))
        else:
            leave = largest_victims(problem, group, state.free[c], sizes)
        for d in group:
            if d in leave:
                state.displaced[priority] = (*state.displaced.get(priority, ()), d)
            else:
                state.free[c] -= requests[d]
                state.where[d] = c
                if priority < level:
                    state.guarded[c] = (*state.guarded.get(c, ()), d)


def _by_priority(problem: Problem, members: list[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for d in sorted(members):
        groups.setdefault(problem.deployments[d].priority, []).append(d)
    return groups


def _released(state: State, c: int) -> list[int]:
    """Return the guarded whom all that started there may evict, and let go of their place.

    They were kept from nobody, and have to give way again to higher ones that are due now.
    """
    threshold = state.problem.threshold
    released = [d for d in state.guarded.get(c, ()) if threshold[d] <= state.lowest[c]]
    if released:
        state.guarded[c] = tuple(d for d in state.guarded[c] if d not in released)
        for d in released:
            state.unplace(d)
    return released


def _cost(state: State, d: int, c: int) -> tuple[int, int]:
    """Return the harm of d's leaving c: stranded or not, then the work that is lost."""
    return not state.has_elsewhere(d, c), state.problem.loss[d]
