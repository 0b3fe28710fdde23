"""Decide whether a victim could go to another node without any eviction."""

from collections.abc import Callable, Iterable, Iterator

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.search.state import State

_FEW = 32  # nodes up to which all are examined


def is_lost(state: State, v: int, c: int) -> bool:
    """Return whether v, which is on c, fits on no other node beside all that are expected to stay.

    Of many nodes, only those are examined on which it fits by the bitmap.
    """
    request, pool = state.problem.requests[v], state.problem.pool[v]
    nodes: Iterable[int] = pool
    if len(pool) > _FEW:
        nodes = _members(state.bitmap(pool).may_fit(request))
    free, load = state.free, state.load
    for o in nodes:
        if not (free[o] - load[o] - request) & OVERDRAWN and o != c and _may_use(state, v, o):
            return False
    return True


def may_fit_on(state: State, pool: tuple[int, ...]) -> Callable[[int], int]:
    """Return a function that returns 0 for requests that certainly fit on no node of the pool
    beside all that are expected to stay.
    """
    return state.bitmap(pool).may_fit if len(pool) > _FEW else _unknown


def _unknown(request: int) -> int:
    return 1


def _members(nodes: int) -> Iterator[int]:
    """Yield the nodes of a set of bits, which has few."""
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest


def _may_use(state: State, v: int, o: int) -> bool:
    """Return whether v, which fits on o, does so next to what is reserved there."""
    if o not in state.reserved:
        return True
    return not (state.usable(v, o) - state.load[o] - state.problem.requests[v]) & OVERDRAWN
