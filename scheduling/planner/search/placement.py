"""Choose which deployments start at a level, and on which cluster."""

from collections.abc import Iterable

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NEVER, Level
from scheduling.planner.search.reservation import reserve
from scheduling.planner.search.state import Guide, State

_OVERHEAD = 4  # effort of a placement, in addition to the clusters that are examined
_NO_VICTIMS: list[int] = []
Choice = tuple[int, list[int]]


def place_in_order(
    state: State, level: Level, queue: Iterable[int], guide: Guide, *, starved: bool = False
) -> list[int]:
    """Place the deployments that fit, in order, and return the others. With `starved`, reserve a
    cluster for each of the others while there is an eligible one without a reservation.

    A kind that did not fit is not tried again, because free capacity only shrinks.
    """
    problem, reserved = state.problem, state.reserved
    failed: set[object] = set()
    unplaced = []
    for d in queue:
        kind: object = problem.kinds[d]
        if reserved:
            kind = kind, problem.deployments[d].max_runtime_s, problem.threshold_once_started(d)
        if kind not in failed:
            state.effort += _OVERHEAD + len(problem.eligible[d])
            choice = choose_cluster(state, d, guide)
            if choice:
                state.place(d, choice[0], choice[1])
                continue
            failed.add(kind)
        unplaced.append(d)
        if starved and len(reserved) < len(state.free):
            reservation = reserve(problem, state.free, state.where, d, reserved)
            if reservation:
                reserved[reservation.cluster] = reservation
    return unplaced


def place_suspended(state: State, queue: Iterable[int], guide: Guide) -> int:
    """Place the deployments, for which preemption is suspended, that fit without any eviction.

    Preferred are the guide's cluster and the fullest. Return how many were placed.
    """
    problem = state.problem
    spare: dict[int, int] = {}
    placed = 0
    for d in queue:
        state.effort += _OVERHEAD + len(problem.eligible[d])
        options = []
        for c in problem.eligible[d]:
            if c not in spare:
                spare[c] = state.spare(c)
            left = state.less_reserved(d, c, spare[c]) - problem.requests[d]
            if not left & OVERDRAWN:
                options.append((c != guide.prefer.get(d), left, c))
        if options:
            c = min(options)[-1]
            state.place(d, c)
            spare[c] -= problem.requests[d]
            placed += 1
    return placed


def choose_cluster(state: State, d: int, guide: Guide) -> Choice | None:
    """Return the cluster for d and the expected victims there; None if d fits on no cluster.

    Preferred are, in this order, the guide's cluster, d's home, a cluster without victims, and the
    cluster with the least harm.
    """
    problem, free, load, reserved = state.problem, state.free, state.load, state.reserved
    request, home, preferred = problem.requests[d], problem.home[d], guide.prefer.get(d)
    tight, best, best_slack, returns = guide.tight, -1, 0, False
    crowded = []
    for c in problem.eligible[d]:
        left = (state.usable(d, c) if c in reserved else free[c]) - request
        if left & OVERDRAWN:
            continue
        if c == preferred:
            return c, _victims(state, request, c)
        returns = returns or c == home
        slack = left - load[c]
        if slack & OVERDRAWN:
            crowded.append(c)
        elif best < 0 or (slack < best_slack if tight else slack > best_slack):
            best, best_slack = c, slack
    if returns:
        return home, _victims(state, request, home)
    if best >= 0:
        return best, _NO_VICTIMS
    if not crowded:
        return None
    if len(crowded) == 1:
        return crowded[0], state.victims(request, crowded[0])
    return min(
        [(c, state.victims(request, c)) for c in crowded],
        key=lambda choice: (_harm(state, choice[1]), choice[0]),
    )


def _victims(state: State, request: int, c: int) -> list[int]:
    if (state.free[c] - state.load[c] - request) & OVERDRAWN:
        return state.victims(request, c)
    return _NO_VICTIMS


def _harm(state: State, victims: list[int]) -> tuple[int, int, int]:
    deployments, loss = state.problem.deployments, state.problem.loss
    worst = max([deployments[v].priority for v in victims], default=-NEVER)
    return worst, len(victims), sum([loss[v] for v in victims])
