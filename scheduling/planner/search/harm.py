"""Find the node on which a preemptor does the least harm.

The harm is the highest priority among its victims there, the number of those that fit on no other
node, the number of all, their lost work, and the node.
"""

from collections.abc import Iterable

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.problem import NEVER
from scheduling.planner.search.elsewhere import fits_on_none, is_lost, may_fit_on
from scheduling.planner.search.state import State

Choice = tuple[int, list[int]]
Harm = tuple[int, int, int, int, int]
Bound = tuple[int, int, int, int, int, int]
"""At least how much harm is done on a node, and the place of the certain victim there."""


def least_harm(state: State, d: int, crowded: list[int]) -> Choice | None:
    """Return one of the nodes, on each of which d has victims, and these; None if there is none.

    All victims are only found on nodes where the bound is less than the least harm until then.
    """
    request = state.problem.requests[d]
    if len(crowded) < 2:
        return next(((c, state.victims(request, c)[0]) for c in crowded), None)
    least, best, bounds = _bounds(state, request, crowded)
    for bound in sorted(bounds):
        if bound >= least:
            break
        victims, harm = _victims(state, request, bound, least)
        if harm < least:
            best, least = victims, harm
    return least[-1], best


def _bounds(
    state: State, request: int, nodes: Iterable[int]
) -> tuple[Harm, list[int], list[Bound]]:
    """Return the least harm of a single victim, or of none, with the victims, and for the nodes
    with more victims on which there may be less: at least how much harm the request does there.

    That is the harm of the certain victim, after whose removal the request fits. Its place is that
    among the candidates of the node. The request has no victims if it only does not fit next to a
    reservation.
    """
    problem, bounds = state.problem, list[Bound]()
    priorities, loss, requests = problem.priorities, problem.loss, problem.requests
    known, candidates, pools = state.sums, state.candidates, problem.pool
    pool, may_fit = None, may_fit_on(state, ())
    least: Harm = NEVER, 0, 0, 0, 0
    best: list[int] = []
    for c in nodes:
        sums = known.get(c) or state.sum_up(c)
        place = 0
        for left in sums:
            if not (left - request) & OVERDRAWN:
                break
            place += 1
        else:
            place = state.sum_up_to(request, c)
        if place == 0:
            least, best = min((least, best), ((-NEVER, 0, 0, 0, c), []))
            continue
        v = candidates[c][-place]
        if pools[v] is not pool:
            pool = pools[v]
            may_fit = may_fit_on(state, pool)
        removed = requests[v]
        others = may_fit(removed)
        lost = not others or fits_on_none(state, v, c, others)
        if place == 1 or not (sums[0] + removed - request) & OVERDRAWN:
            harm = priorities[v], lost, 1, loss[v], c
            if harm < least:
                least, best = harm, [v]
        else:
            bound = priorities[v], lost, 2, loss[v], c, place
            if bound < least:
                bounds.append(bound)
    return least, best, bounds


def _victims(state: State, request: int, bound: Bound, most: Harm) -> tuple[list[int], Harm]:
    """Return the expected victims of the request on a node and their harm, as far as it is less
    than `most`.

    The candidates up to the certain victim are removed, and the others of them restored in the
    reverse order if they still fit; see `remove_and_restore`.
    """
    priority, lost, _, work, c, place = bound
    requests, loss = state.problem.requests, state.problem.loss
    removed = state.candidates[c][-place:]
    left, victims, harm = state.sums[c][place] - request, removed[:1], bound[:5]
    for v in removed[1:]:
        after = left - requests[v]
        if not after & OVERDRAWN:
            left = after
            continue
        victims.append(v)
        priority = max(priority, state.problem.priorities[v])
        lost, work = lost + is_lost(state, v, c), work + loss[v]
        harm = priority, lost, len(victims), work, c
        if harm >= most:
            break
    return victims[::-1], harm
