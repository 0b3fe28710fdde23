"""The result of a search, which `reasons` turns into a plan."""

from dataclasses import dataclass

from scheduling.planner.policy import Backfill
from scheduling.planner.problem import Problem


@dataclass(frozen=True, slots=True)
class Reservation:
    """An `amount`, packed, of a node's capacity is reserved for a deployment; both by index.

    `until` is when that much will be free at the latest, None when the deployments there do not
    state when they end. Deployments that end by then may use the reserved capacity. `refuses` is
    the highest priority of which it is refused to a deployment that would fit there, None if it is
    refused to none; lower deployments may not pass that one.
    """

    deployment: int
    node: int
    until: int | None
    amount: int
    refuses: int | None = None


def may_use(problem: Problem, reservation: Reservation, d: int) -> bool:
    """Return whether d, of the same or a lower priority, may use the reserved capacity."""
    if problem.deployments[d].ends_by(reservation.until, problem.snapshot.now):
        return True
    if problem.snapshot.policy.backfill != Backfill.EVICTABLE:
        return False
    if reservation.refuses is not None and problem.deployments[d].priority < reservation.refuses:
        return False
    return problem.threshold_once_started(d) <= problem.deployments[reservation.deployment].priority


@dataclass(slots=True)
class Outcome:
    """The result of an attempt.

    `where` is the node of each active deployment, by index. `counts` are the active deployments
    of each level, `free_at` the free capacity of each node, packed, after the level of that
    priority was placed. `lost` counts the active deployments that are evicted, `evicted` those and
    the moved; `loss` is their lost work.
    """

    where: dict[int, int]
    counts: list[int]
    reservations: dict[int, Reservation]
    free_at: dict[int, list[int]]
    evicted: int = 0
    lost: int = 0
    loss: int = 0
