"""Choose which deployments start at a level, and on which node."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

from scheduling.planner.outcome import Reservation
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NEVER, Level, Problem
from scheduling.planner.search.harm import Choice, least_harm
from scheduling.planner.search.index import Index
from scheduling.planner.search.reservation import reserve
from scheduling.planner.search.skyline import Failures
from scheduling.planner.search.state import MANY, Guide, State

_OVERHEAD = 4  # effort of a placement, in addition to the nodes that are examined
_COMPARED = 64  # nodes with victims of the same highest priority
_NO_VICTIMS: list[int] = []


def place_turns(state: State, level: Level, guide: Guide) -> set[int]:
    """Place the deployments that go first, or reserve a node for them; return them, and others for
    which a node is reserved.

    Outside its turn a deployment has a node reserved if it is known when it will fit there, and if
    that is no further away than the deployment has waited. Those that do not fit come first, so
    that the next cycle does not give what is reserved to a deployment whose turn begins because
    this cycle starts the one before it.
    """
    problem = state.problem
    fitting = []
    first = {d for d in level.taking_turns if problem.goes_first(d)}
    for d in level.taking_turns:
        if choose_node(state, d, guide):
            fitting.append(d)
        elif _reserve(state, d):
            first.add(d)
    for d in fitting:
        if problem.goes_first(d):
            choice = choose_node(state, d, guide)
            if choice:
                state.place(d, *choice)
            else:
                _reserve(state, d)
    return first


def _reserve(state: State, d: int) -> bool:
    """Reserve a node for d if it is its turn or enough will be free soon; return whether one is."""
    problem = state.problem
    reservation = reserve(problem, state.free, state.where, d, state.reserved)
    if reservation is None or not (problem.turns[d].now or _is_soon(problem, reservation)):
        return False
    state.reserved[reservation.node] = reservation
    return True


def _is_soon(problem: Problem, reservation: Reservation) -> bool:
    now, until = problem.snapshot.now, reservation.until
    waited = now - problem.deployments[reservation.deployment].waits_since
    return until is not None and until - now <= waited


def place_in_order(state: State, queue: Sequence[int], guide: Guide) -> None:
    """Place the deployments that fit, in order.

    A kind that did not fit is not tried again, nor is a larger one, because free capacity only
    shrinks. For the same reason none is tried that does not fit before the first is placed.
    """
    problem, requests = state.problem, state.problem.requests
    failed: set[object] = set()
    failures: dict[object, Failures] = defaultdict(Failures)
    for d in _fitting(state, queue, guide):
        kind, class_ = _terms(state, d, problem.kinds[d]), _terms(state, d, id(problem.pool[d]))
        if kind in failed:
            continue
        if failures[class_].decide(requests[d]):
            state.effort += _effort(state, d, guide)
        else:
            choice = choose_node(state, d, guide)
            if choice:
                state.place(d, choice[0], choice[1])
                continue
            failures[class_].add(requests[d])
        failed.add(kind)


def _terms(state: State, d: int, number: int) -> object:
    """Return the number, with what decides on the use of reserved capacity if there is any."""
    if not state.reserved:
        return number
    problem = state.problem
    return number, problem.deployments[d].max_runtime_s, problem.threshold_once_started(d)


def _fitting(state: State, queue: Sequence[int], guide: Guide) -> Sequence[int]:
    """Return those that fit into what is free now; the effort is that of a look at all of them."""
    problem = state.problem
    if len(queue) <= len(state.free):
        return queue
    fitting = state.largest_free().fitting(queue, problem.requests)
    if guide.orders:
        some = set(fitting)
        others = {_terms(state, d, problem.kinds[d]): d for d in queue if d not in some}
        state.effort += sum([_effort(state, d, guide) for d in others.values()])
    return fitting


def _effort(state: State, d: int, guide: Guide) -> int:
    """Return the effort of the choice of a node for d."""
    number = len(state.problem.eligible[d])
    effort = _OVERHEAD + min(number, MANY)
    return effort + _OVERHEAD + number if d in guide.weights else effort


def place_suspended(state: State, queue: Iterable[int], guide: Guide) -> int:
    """Place the deployments, for which preemption is suspended, that fit without any eviction.

    Preferred are the guide's node and the fullest. Return how many were placed.
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


def choose_node(state: State, d: int, guide: Guide) -> Choice | None:
    """Return the node for d and the expected victims there; None if d fits on no node.

    Preferred are, in this order, the node without victims that d prefers most if the guide weighs
    it, the guide's node, d's home, a node without victims, and the node with the least harm.
    """
    nodes = state.problem.eligible[d]
    state.effort += _effort(state, d, guide)
    if d in guide.weights:
        preferred = _heaviest(state, d, guide.weights[d])
        if preferred is not None:
            return preferred, _NO_VICTIMS
    return (_choose_of_many if len(nodes) > MANY else _choose_of_few)(state, d, guide)


def _choose_of_few(state: State, d: int, guide: Guide) -> Choice | None:
    nodes = state.problem.eligible[d]
    problem, free, load, reserved = state.problem, state.free, state.load, state.reserved
    request, home, preferred = problem.requests[d], problem.home[d], guide.prefer.get(d)
    tight, best, best_slack, returns = guide.tight, -1, 0, False
    crowded = []
    for c in nodes:
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
    return least_harm(state, d, crowded)


def _heaviest(state: State, d: int, weights: list[int]) -> int | None:
    """Return the node with the largest weight of those on which d has no victims."""
    free, load = state.free, state.load
    options = [(-weights[c], free[c] - load[c], c) for c in state.without_victims(d)]
    return min(options)[-1] if options else None


def _choose_of_many(state: State, d: int, guide: Guide) -> Choice | None:
    """Return the same choice without a look at all nodes, except among those with victims: of
    these, only some of those with the lowest victims are compared.
    """
    problem, nodes, request = state.problem, state.problem.eligible[d], state.problem.requests[d]
    for c in (guide.prefer.get(d), problem.home[d]):
        if c is not None and c in nodes and not (state.usable(d, c) - request) & OVERDRAWN:
            return c, _victims(state, request, c)
    pool = problem.pool[d]
    if state.bitmap(pool).may_fit(request):
        slack = state.index_of_slack(pool)
        for c in (slack.fits if guide.tight else slack.fits_from_largest)(request):
            if not (state.usable(d, c) - state.load[c] - request) & OVERDRAWN:
                return c, _NO_VICTIMS
    if guide.prefer:
        crowded = _first(state, d, state.index_of_free(pool), _COMPARED + 1)
        if len(crowded) <= _COMPARED:
            return least_harm(state, d, crowded)
    return least_harm(state, d, _with_lowest_victims(state, d))


def _first(state: State, d: int, index: Index, number: int) -> list[int]:
    """Return the first nodes that d fits by the index and by what is reserved for others."""
    request, reserved = state.problem.requests[d], state.reserved
    if not reserved:
        return index.first(request, number)
    fits = (
        c
        for c in index.fits(request)
        if c not in reserved or not (state.usable(d, c) - request) & OVERDRAWN
    )
    return list(islice(fits, number))


def _with_lowest_victims(state: State, d: int) -> list[int]:
    """Return some of the nodes on which the highest priority among the victims of d is lowest.

    Up to which priority victims have to leave before d fits somewhere is found by a binary search.
    """
    problem, nodes = state.problem, state.problem.pool[d]
    later = [level.priority for level in reversed(problem.levels[len(state.counts) + 1 :])]
    priorities = [-NEVER, *later] if state.reserved else later

    def fits_without(priority: int) -> bool:
        index = state.index_without(priority, nodes)
        if state.reserved:
            return bool(_first(state, d, index, 1))
        return index.has_fitting(problem.requests[d])

    at = 0
    if priorities and not fits_without(priorities[0]):
        at = bisect_left(priorities, True, 1, key=fits_without)
    if at == len(priorities):
        return []
    return _first(state, d, state.index_without(priorities[at], nodes), _COMPARED)


def _victims(state: State, request: int, c: int) -> list[int]:
    if (state.free[c] - state.load[c] - request) & OVERDRAWN:
        return state.victims(request, c)[0]
    return _NO_VICTIMS
