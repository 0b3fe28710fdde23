"""Decide whether a victim could go to another node without any eviction."""

from collections.abc import Callable

from scheduling.planner.packed import OVERDRAWN
from scheduling.planner.search.state import State

_FEW = 32  # nodes up to which no bitmap is worth its cost


def is_lost(state: State, v: int, c: int) -> bool:
    """Return whether v, on c, fits on no other node beside all that are expected to stay."""
    problem = state.problem
    return fits_on_none(state, v, c, may_fit_on(state, problem.pool[v])(problem.requests[v]))


def may_fit_on(state: State, pool: tuple[int, ...]) -> Callable[[int], int]:
    """Return a function that returns for a request the nodes of the pool on which it may fit beside
    all that are expected to stay, as one bit each.
    """
    if len(pool) > _FEW:
        return state.bitmap(pool).may_fit
    every = sum([1 << o for o in pool])
    return lambda _: every


def fits_on_none(state: State, v: int, c: int, nodes: int) -> bool:
    """Return whether v, which is on c, fits on no other of these nodes, which are one bit each."""
    request, free, load = state.problem.requests[v], state.free, state.load
    while nodes:
        lowest = nodes & -nodes
        o = lowest.bit_length() - 1
        if not (free[o] - load[o] - request) & OVERDRAWN and o != c and _may_use(state, v, o):
            return False
        nodes ^= lowest
    return True


def _may_use(state: State, v: int, o: int) -> bool:
    """Return whether v, which fits on o, does so next to what is reserved there."""
    if o not in state.reserved:
        return True
    return not (state.usable(v, o) - state.load[o] - state.problem.requests[v]) & OVERDRAWN
