"""Choose which active deployments keep their place at a level."""

from collections.abc import Collection

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Due, Level, Problem
from scheduling.planner.search.preemption import fewest_victims, largest_victims
from scheduling.planner.search.state import State


def retain(state: State, level: Level, sizes: list[int] | None) -> None:
    """Place the deployments that are due on their homes, unless higher levels have left too little.

    On a cluster that cannot keep all of them, deployments of the lowest priority are displaced
    first, and of these the largest by `sizes`, or those with the least harm if it is None.
    """
    requests = state.problem.requests
    for due in level.due:
        c = due.cluster
        state.load[c] -= due.total
        if state.expected_victims:
            state.load[c] += sum([requests[d] for d in due.members if d in state.expected_victims])
        left = state.free[c] - due.total
        if left & OVERDRAWN:
            _retain_what_fits(state, due, level.priority, sizes)
        else:
            state.free[c] = left
            state.where |= due.home
            if due.protected:
                state.protected[c] = state.protected.get(c, ()) + due.protected


def _retain_what_fits(state: State, due: Due, level: int, sizes: list[int] | None) -> None:
    """Keep as many as fit, the highest priority first; the others are displaced.

    Within a priority, deployments that were protected come first: a deployment of a higher level
    may be waiting because of them, and would wait for nothing if they were displaced in favour of a
    deployment that this level could have evicted.
    """
    problem, c = state.problem, due.cluster
    requests = problem.requests
    unprotected = _by_priority(problem, _unprotect(state, c))
    groups = [*unprotected.items(), *due.groups.items()]
    for priority, group in sorted(groups, key=lambda item: -item[0]):
        victims: Collection[int]
        if sizes is None:
            victims = fewest_victims(problem, group, state.free[c], lambda d: _cost(state, d, c))
        else:
            victims = largest_victims(problem, group, state.free[c], sizes)
        for d in group:
            if d in victims:
                state.displaced[priority] = (*state.displaced.get(priority, ()), d)
            else:
                state.free[c] -= requests[d]
                state.where[d] = c
                if priority < level:
                    state.protected[c] = (*state.protected.get(c, ()), d)


def _by_priority(problem: Problem, members: list[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for d in sorted(members):
        groups.setdefault(problem.deployments[d].priority, []).append(d)
    return groups


def _unprotect(state: State, c: int) -> list[int]:
    """Unplace the protected deployments that all deployments started on c may evict; return them.

    No level had to wait for them, so higher ones that are due now take precedence again.
    """
    threshold = state.problem.threshold
    unprotected = [d for d in state.protected.get(c, ()) if threshold[d] <= state.lowest_starter[c]]
    if unprotected:
        state.protected[c] = tuple(d for d in state.protected[c] if d not in unprotected)
        for d in unprotected:
            state.unplace(d)
    return unprotected


def _cost(state: State, d: int, c: int) -> tuple[int, int]:
    """Return the harm of evicting d from c: whether it fits nowhere else, then the lost work."""
    return not state.fits_elsewhere(d, c), state.problem.loss[d]
