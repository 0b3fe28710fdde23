"""Find how many victims of a preemptor could go to another node without any eviction."""

from collections.abc import Iterable
from itertools import islice

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.search.state import MANY, State

_UNKNOWN: tuple[list[int], int] = [], -(1 << 32)  # before any change
_NOT_EVEN_HERE: tuple[list[int], int] = [-1], 0


def lost(state: State, victims: list[int], c: int, enough: int) -> int:
    """Return how many of the victims, which are on c, fit on no other node beside all that are
    expected to stay, counted up to `enough`.
    """
    number = 0
    for v in victims:
        number += is_lost(state, v, c)
        if number >= enough:
            break
    return number


def is_lost(state: State, v: int, c: int) -> bool:
    """Return whether v, which is on c, fits on no other node beside all expected to stay."""
    changed, kind = state.changed, state.problem.kinds[v]
    nodes, seen = state.elsewhere.get(kind, _NOT_EVEN_HERE)
    new = changed[seen:]
    if nodes or state.reserved or len(new) > MANY or not _fits_none(state, v, new):
        nodes = _two_without_victims(state, v)
        return not nodes or nodes == [c]
    if new:
        state.elsewhere[kind] = nodes, len(changed)
    return True


def _fits_none(state: State, d: int, nodes: Iterable[int]) -> bool:
    request, free, load = state.problem.requests[d], state.free, state.load
    for c in nodes:  # noqa: SIM110 - a generator takes twice as long
        if not (free[c] - load[c] - request) & OVERDRAWN:
            return False
    return True


def _two_without_victims(state: State, d: int) -> list[int]:
    """Return two or more of the nodes on which d fits beside all that are expected to stay, or
    all of them.

    What was found for a kind of deployments still holds for nodes that have not changed since.
    """
    problem, kind, changed = state.problem, state.problem.kinds[d], state.changed
    if state.reserved or len(problem.eligible[d]) <= MANY:
        return list(islice(state.without_victims(d), 2))
    before, seen = state.elsewhere.get(kind, _UNKNOWN)
    is_recent = len(changed) - seen <= MANY
    if is_recent:
        candidates = {*before, *changed[seen:]} if len(before) < 2 else before
        eligible = problem.eligible[d]
        nodes = [c for c in candidates if not _fits_none(state, d, [c]) and c in eligible]
    if not is_recent or len(nodes) < 2 <= len(before):
        nodes = list(islice(state.without_victims(d), 2))
    state.elsewhere[kind] = nodes, len(changed)
    return nodes
