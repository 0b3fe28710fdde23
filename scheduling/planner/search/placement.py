"""Who starts at a level, and where."""

from collections.abc import Iterable

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NEVER, Level
from scheduling.planner.search.reservation import reserve
from scheduling.planner.search.state import Guide, State

_OVERHEAD = 4  # what a placement costs beside looking at clusters
_NOBODY: list[int] = []
Choice = tuple[int, list[int]]


def start(
    state: State, level: Level, queue: Iterable[int], guide: Guide, *, starved: bool = False
) -> list[int]:
    """Place in order what fits, and return the rest; hold room for those who starve.

    The kinds that failed are remembered: room only shrinks meanwhile.
    """
    problem, reserved = state.problem, state.reserved
    failed: set[object] = set()
    left = []
    for d in queue:
        kind: object = problem.kinds[d]
        if reserved:
            kind = kind, problem.deployments[d].max_runtime_s, problem.threshold_once_started(d)
        if kind not in failed:
            state.effort += _OVERHEAD + len(problem.eligible[d])
            choice = pick(state, d, guide)
            if choice:
                state.place(d, choice[0], level.priority, choice[1])
                continue
            failed.add(kind)
        left.append(d)
        if starved and len(reserved) < len(state.free):
            reservation = reserve(problem, state.free, state.where, d, reserved)
            if reservation:
                reserved[reservation.cluster] = reservation
    return left


def pick(state: State, d: int, guide: Guide) -> Choice | None:
    """Return the cluster for d and whom it displaces there: nobody if possible, else least harm."""
    problem, free, load, reserved = state.problem, state.free, state.load, state.reserved
    request, home, wish = problem.requests[d], problem.home[d], guide.prefer.get(d)
    tight, best, best_slack, returns = guide.tight, -1, 0, False
    crowded = []
    for c in problem.eligible[d]:
        left = (state.usable(d, c) if c in reserved else free[c]) - request
        if left & OVERDRAWN:
            continue
        if c == wish:
            return c, _displaced(state, request, c)
        returns = returns or c == home
        slack = left - load[c]
        if slack & OVERDRAWN:
            crowded.append(c)
        elif best < 0 or (slack < best_slack if tight else slack > best_slack):
            best, best_slack = c, slack
    if returns:
        return home, _displaced(state, request, home)
    if best >= 0:
        return best, _NOBODY
    if not crowded:
        return None
    if len(crowded) == 1:
        return crowded[0], state.victims(request, crowded[0])
    return min(
        [(c, state.victims(request, c)) for c in crowded],
        key=lambda choice: (_harm(state, choice[1]), choice[0]),
    )


def _displaced(state: State, request: int, c: int) -> list[int]:
    if (state.free[c] - state.load[c] - request) & OVERDRAWN:
        return state.victims(request, c)
    return _NOBODY


def _harm(state: State, victims: list[int]) -> tuple[int, int, int]:
    deployments, loss = state.problem.deployments, state.problem.loss
    worst = max([deployments[v].priority for v in victims], default=-NEVER)
    return worst, len(victims), sum([loss[v] for v in victims])
