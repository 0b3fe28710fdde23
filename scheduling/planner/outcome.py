"""The result of a search, which `reasons` turns into a plan."""

from dataclasses import dataclass

from scheduling.planner.policy import Backfill
from scheduling.planner.problem import Problem
from scheduling.planner.snapshot import Deployment


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room of `amount`, packed, on a cluster is held for a deployment; both by index.

    `until` is when it will be there at the latest, None when the ends of those in the way are not
    known. Who is done by then may use the room meanwhile.
    """

    deployment: int
    cluster: int
    until: int | None
    amount: int

    def ends_before(self, deployment: Deployment, now: int) -> bool:
        """Say whether the deployment, started now, is known to be done in time."""
        if self.until is None or deployment.max_runtime_s is None:
            return False
        return now + deployment.max_runtime_s <= self.until


def may_use(problem: Problem, reservation: Reservation, d: int) -> bool:
    """Say whether d, of the same or a lower priority, may use the reserved capacity."""
    if reservation.ends_before(problem.deployments[d], problem.snapshot.now):
        return True
    if problem.snapshot.policy.backfill != Backfill.EVICTABLE:
        return False
    return problem.threshold_once_started(d) <= problem.deployments[reservation.deployment].priority


@dataclass(slots=True)
class Outcome:
    """Who is where after a try.

    `counts` are the active ones by level, `rooms_at` the rooms by priority as that level left them.
    `lost` are those that find no place any more, `evicted` those and the moved, `loss` their work.
    """

    where: dict[int, int]
    counts: list[int]
    reservations: dict[int, Reservation]
    free_at: dict[int, list[int]]
    evicted: int = 0
    lost: int = 0
    loss: int = 0
