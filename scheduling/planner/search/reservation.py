"""Reserve the capacity of one node for a deployment that has waited too long."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from scheduling.planner.outcome import Reservation
from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import Level, Problem
from scheduling.planner.search.state import State


def reserve(
    problem: Problem,
    free: list[int],
    where: Mapping[int, int],
    d: int,
    reserved: Mapping[int, Reservation],
) -> Reservation | None:
    """Return a reservation on the node where d will fit first.

    Nodes on which that time is known come before the others, of which the one with the smallest
    shortfall is taken. Ties end in the node's id. None if every eligible node has a
    reservation already.
    """
    nodes = [c for c in problem.eligible[d] if c not in reserved]
    if not nodes:
        return None
    ends = _ends(problem, where)
    options = []
    for c in nodes:
        until = _ready_at(free[c] - problem.requests[d], ends[c])
        shortfall = _shortfall(problem, free[c], d, c) if until is None else 0
        options.append((until is None, until or 0, shortfall, c))
    unknown, until, _, c = min(options)
    return Reservation(d, c, None if unknown else until, problem.requests[d])


def record_refusals(state: State, level: Level) -> None:
    """Record on which nodes reserved capacity is refused to a deployment that the level leaves
    waiting, although it would fit there.
    """
    problem = state.problem
    nodes = [c for c, reservation in state.reserved.items() if reservation.refuses is None]
    seen: set[object] = set()
    for d in level.members if nodes else ():
        if d in state.where or d in problem.suspended:
            continue
        max_runtime, request = problem.deployments[d].max_runtime_s, problem.requests[d]
        kind = problem.kinds[d], max_runtime, problem.threshold_once_started(d)
        if kind in seen:
            continue
        seen.add(kind)
        for c in nodes:
            if c in problem.eligible[d] and state.reserved[c].deployment != d:
                fits = not (state.free[c] - request) & OVERDRAWN
                if fits and (state.usable(d, c) - request) & OVERDRAWN:
                    state.reserved[c] = replace(state.reserved[c], refuses=level.priority)


def _ready_at(left: int, ends: list[tuple[int, int]]) -> int | None:
    """Return the latest time at which enough will be free, None if that is not known."""
    for end, request in sorted(ends):
        left += request
        if not left & OVERDRAWN:
            return end
    return None


def _ends(problem: Problem, where: Mapping[int, int]) -> Mapping[int, list[tuple[int, int]]]:
    """Return, by node, the end and the request of each deployment whose end is known."""
    now = problem.snapshot.now
    ends: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for d, c in where.items():
        deployment = problem.deployments[d]
        if deployment.max_runtime_s is not None:
            started = deployment.placed_at if problem.home[d] == c else now
            since = now if started is None else started
            end = max(since + deployment.max_runtime_s, now)
            ends[c].append((end, problem.requests[d]))
    return ends


def _shortfall(problem: Problem, free: int, d: int, c: int) -> int:
    """Return the largest share of the node's capacity that is missing for d, in millionths."""
    shortfall = unpack(free - problem.requests[d])
    capacity = problem.bins[c].capacity
    pairs = (
        (shortfall.cpu_milli, capacity.cpu_milli),
        (shortfall.ram_mib, capacity.ram_mib),
        (shortfall.gpu, capacity.gpu),
    )
    return max(-left * 1_000_000 // whole for left, whole in pairs if left < 0)
