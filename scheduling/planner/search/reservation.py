"""Hold one cluster's room for one that has waited too long."""

from collections import defaultdict
from collections.abc import Mapping

from scheduling.planner.outcome import Reservation
from scheduling.planner.packed import OVERDRAWN, unpack
from scheduling.planner.problem import Problem


def reserve(
    problem: Problem,
    free: list[int],
    where: Mapping[int, int],
    d: int,
    reserved: Mapping[int, Reservation],
) -> Reservation | None:
    """Return the reservation where the room will be there first; None when all have one already.

    Known ends come first; where the ends of those in the way are not known, the cluster that lacks
    least. Ties end in the cluster's id.
    """
    clusters = [c for c in problem.eligible[d] if c not in reserved]
    if not clusters:
        return None
    ends = _ends(problem, where)
    options = []
    for c in clusters:
        until = _ready_at(free[c] - problem.requests[d], ends[c])
        lack = _lack(problem, free[c], d, c) if until is None else 0
        options.append((until is None, until or 0, lack, c))
    unknown, until, _, c = min(options)
    return Reservation(d, c, None if unknown else until, problem.requests[d])


def _ready_at(left: int, ends: list[tuple[int, int]]) -> int | None:
    """Return when nothing lacks any more at the latest, None when that is not known."""
    for end, request in sorted(ends):
        left += request
        if not left & OVERDRAWN:
            return end
    return None


def _ends(problem: Problem, where: Mapping[int, int]) -> Mapping[int, list[tuple[int, int]]]:
    """Return by cluster end and request of those placed there whose end is known."""
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


def _lack(problem: Problem, free: int, d: int, c: int) -> int:
    """Return the largest share of the cluster that is missing, in parts per million."""
    lack = unpack(free - problem.requests[d])
    capacity = problem.clusters[c].capacity
    pairs = (
        (lack.cpu_milli, capacity.cpu_milli),
        (lack.ram_mib, capacity.ram_mib),
        (lack.gpu, capacity.gpu),
    )
    return max(-left * 1_000_000 // whole for left, whole in pairs if left < 0)
