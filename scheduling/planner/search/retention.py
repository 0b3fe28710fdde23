"""Choose which active deployments keep their place at a level."""

from collections.abc import Collection, Iterable

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import Level, Problem
from scheduling.planner.search.elsewhere import is_lost
from scheduling.planner.search.preemption import fewest_victims, largest_victims
from scheduling.planner.search.state import Guide, State

Groups = dict[int, list[int]]  # deployments by priority
_LAST = 1 << 32  # more than any number of victims


def retain(state: State, level: Level, guide: Guide) -> None:
    """Place the deployments that are due on their homes, unless higher levels have left too little.

    On a node that cannot keep all of them, deployments of the lowest priority are displaced first,
    and of these the largest by the guide's sizes, or those with the least harm if it has none. A
    protected deployment that was displaced at a higher level is due again at each level down to its
    own, because a deployment that was expected to stay may have lost its place in the meantime.
    """
    requests = state.problem.requests
    again = _displaced_earlier(state, level.priority)
    for due in level.due:
        c = due.node
        state.load[c] -= due.total
        state.candidates.pop(c, None)
        if expected := state.expected_victims.get(c):
            state.load[c] += sum([requests[d] for d in due.members if d in expected])
        groups = due.groups
        if c in again:
            groups = _by_priority(state.problem, [*again.pop(c), *due.members])
        later = _due_later(state, c, level.priority, groups)
        left = state.free[c] - due.total
        if groups is due.groups and not (left - sum([requests[d] for d in later])) & OVERDRAWN:
            state.free[c] = left
            state.where |= due.home
        else:
            _retain_what_fits(state, c, groups, later, guide)
        state.record_change(c)
    for c, members in again.items():
        groups = _by_priority(state.problem, members)
        later = _due_later(state, c, level.priority, groups)
        _retain_what_fits(state, c, groups, later, guide)
        state.record_change(c)


def _displaced_earlier(state: State, priority: int) -> dict[int, list[int]]:
    """Remove the displaced deployments of at most the priority from the state; return them by
    node.
    """
    found: dict[int, list[int]] = {}
    for each in [p for p in state.displaced if p <= priority]:
        for d in state.displaced.pop(each):
            found.setdefault(state.problem.home[d], []).append(d)
    return found


def _due_later(state: State, c: int, level: int, groups: Groups) -> list[int]:
    """Return the deployments on the node that are due later, but take precedence over protected
    deployments of the groups.
    """
    problem, decided, lowest = state.problem, len(state.counts), min(groups)
    if lowest == level:
        return []
    return [
        d
        for d in problem.eviction_order[c]
        if problem.due_at[d] > decided and problem.deployments[d].priority > lowest
    ]


def _by_priority(problem: Problem, members: Iterable[int]) -> Groups:
    groups: Groups = {}
    for d in sorted(members):
        groups.setdefault(problem.deployments[d].priority, []).append(d)
    return groups


def _retain_what_fits(state: State, c: int, groups: Groups, later: list[int], guide: Guide) -> None:
    """Keep as many as fit, the highest priority first; the others are displaced.

    Deployments that are due later take precedence over protected ones of a lower priority. So a
    protected deployment that keeps its place keeps it to the end, and those that wait because of it
    wait for a reason. If it is displaced, they can use its capacity.
    """
    requests = state.problem.requests
    others = _by_priority(state.problem, later)
    kept_later = 0
    for priority in sorted(groups.keys() | others.keys(), reverse=True):
        if priority in groups:
            group = groups[priority]
            victims = _victims(state, c, group, state.free[c] - kept_later, guide)
            for d in group:
                if d not in victims:
                    state.free[c] -= requests[d]
                    state.where[d] = c
            if victims:
                lost = [d for d in group if d in victims]
                state.displaced[priority] = (*state.displaced.get(priority, ()), *lost)
        if priority in others:
            group = others[priority]
            victims = _victims(state, c, group, state.free[c] - kept_later, guide)
            kept_later += sum([requests[d] for d in group if d not in victims])


def _victims(state: State, c: int, group: list[int], free: int, guide: Guide) -> Collection[int]:
    if guide.sizes is None:
        return fewest_victims(state.problem, group, free, lambda d: _cost(state, d, c, guide))
    return largest_victims(state.problem, group, free, guide.sizes)


def _cost(state: State, d: int, c: int, guide: Guide) -> tuple[int, int]:
    """Return the harm of evicting d from c: whether it fits nowhere else, then the lost work.

    A deployment that is to keep its place by the guide is evicted last.
    """
    to_stay = _LAST if guide.prefer.get(d) == c else 0
    return to_stay + (is_lost(state, d, c)), state.problem.loss[d]
