"""Choose which deployments start at a level, and on which node."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from scheduling.planner.outcome import Reservation
from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NEVER, Level, Problem
from scheduling.planner.search.elsewhere import is_lost, lost
from scheduling.planner.search.index import Index
from scheduling.planner.search.reservation import reserve
from scheduling.planner.search.skyline import Failures
from scheduling.planner.search.state import MANY, NOBODY, Guide, State

_OVERHEAD = 4  # effort of a placement, in addition to the nodes that are examined
_COMPARED = 64  # nodes with victims of the same highest priority
_NO_VICTIMS: list[int] = []
Choice = tuple[int, list[int]]


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
    return _least_harm(state, d, crowded)


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
    index = state.index(problem.pool[d])
    fits = index.slack.fits if guide.tight else index.slack.fits_from_largest
    for c in fits(request):
        if not (state.usable(d, c) - state.load[c] - request) & OVERDRAWN:
            return c, _NO_VICTIMS
    fitting = _usable(state, d, index.free)
    crowded = list(islice(fitting, _COMPARED + 1))
    if len(crowded) > _COMPARED:
        crowded = _with_lowest_victims(state, d, chain(crowded, fitting))
    return _least_harm(state, d, crowded)


def _usable(state: State, d: int, index: Index) -> Iterator[int]:
    """Return the nodes that d fits by the index and by what is reserved for others."""
    request, reserved = state.problem.requests[d], state.reserved
    if not reserved:
        return index.fits(request)
    return (
        c
        for c in index.fits(request)
        if c not in reserved or not (state.usable(d, c) - request) & OVERDRAWN
    )


def _with_lowest_victims(state: State, d: int, fitting: Iterator[int]) -> list[int]:
    """Return some of the fitting nodes on which the highest priority among the victims is lowest.

    Up to which priority victims have to leave before d fits somewhere is found by a binary search.
    """
    problem, request, nodes = state.problem, state.problem.requests[d], state.problem.pool[d]
    later = problem.levels[len(state.counts) + 1 :]
    priorities = [-NEVER, *(level.priority for level in reversed(later))]

    def fits_without(priority: int) -> bool:
        index = state.without_victims_up_to(priority, nodes)
        return any(True for _ in _usable(state, d, index))

    lowest = priorities[bisect_left(priorities, True, key=fits_without)]
    without = state.without_victims_up_to(lowest, nodes).amounts
    return list(islice((c for c in fitting if not (without[c] - request) & OVERDRAWN), _COMPARED))


def _least_harm(state: State, d: int, crowded: list[int]) -> Choice | None:
    """Return one of the nodes, on each of which d has victims, and these; None if there is none.

    The harm is the highest priority among the victims, the number of those that fit on no other
    node, their number, and the lost work. It is at least that of the certain victim of each node;
    the others are only found on nodes where this is not too much. Nodes without others come first,
    because they show best what is too much.
    """
    request = state.problem.requests[d]
    if len(crowded) < 2:
        return next(((c, state.victims(request, c)[0]) for c in crowded), None)
    best, least = None, (NEVER, 0, 0, 0, 0)
    for priority, number, work, c, v in sorted(state.certain_victims(request, crowded)):
        if v == NOBODY:
            return c, _NO_VICTIMS
        if (priority, 0, number, work, c) >= least:
            continue
        harm, victims = (priority, int(is_lost(state, v, c)), number, work, c), [v]
        if number > 1 and harm < least:
            victims, highest = state.victims(request, c)
            harm = highest, *_harm(state, victims, c, least[1] if highest == least[0] else NEVER)
        if harm < least:
            best, least = (c, victims), harm
    return best


def _harm(state: State, victims: list[int], c: int, most: int) -> tuple[int, int, int, int]:
    """Return how many victims are lost, counted up to one more than `most`, their number, their
    lost work, and the node.
    """
    work = sum([state.problem.loss[v] for v in victims])
    return lost(state, victims, c, most + 1), len(victims), work, c


def _victims(state: State, request: int, c: int) -> list[int]:
    if (state.free[c] - state.load[c] - request) & OVERDRAWN:
        return state.victims(request, c)[0]
    return _NO_VICTIMS
