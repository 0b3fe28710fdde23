"""Count the starts that break the order of the levels."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduling.planner.plan import Plan
from scheduling.planner.reserved import holders
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Bin, Deployment, Place, Snapshot
from scheduling.planner.suspension import suspended


@dataclass(frozen=True, slots=True)
class _Reservation:
    """The reserved amount, and when its holder can start, in seconds since the epoch, if known."""

    amount: Resources
    until: int | None


def starts_out_of_order(snapshot: Snapshot, plan: Plan) -> int:
    """Return how many starts and moves take capacity that a waiting higher deployment could have.

    They do if, on their node, a ready deployment of a higher priority would fit without the lower
    ones that start there. Of a reservation they may use what its holder does not need, and all of
    it if they end before the holder can start, because the higher one waits until then.
    """
    waiting = _waiting(suspended(snapshot, plan.suspensions), plan)
    if not waiting:
        return 0
    reserved, homes = _reserved(snapshot, plan), snapshot.homes()
    return sum(_on(bin_, homes, snapshot, plan, waiting, reserved) for bin_ in snapshot.bins)


def _on(
    bin_: Bin,
    homes: Mapping[int, Place],
    snapshot: Snapshot,
    plan: Plan,
    waiting: Iterable[Deployment],
    reservations: Mapping[Place, _Reservation],
) -> int:
    starting = {p.deployment for p in plan.placements if (p.cluster, p.node) == bin_.place}
    starting |= {m.deployment for m in plan.moves if (m.target, m.target_node) == bin_.place}
    if not starting:
        return 0
    gone = {e.deployment for e in plan.evictions} | {m.deployment for m in plan.moves}
    by_priority: dict[int, list[Deployment]] = defaultdict(list)
    left = bin_.capacity
    reservation = reservations.get(bin_.place)
    for d in snapshot.deployments:
        if d.id in starting:
            by_priority[d.priority].append(d)
        elif homes.get(d.id) == bin_.place and d.id not in gone:
            left -= d.request
    passing = set()
    for h in waiting:
        higher = [d for p, group in by_priority.items() if p >= h.priority for d in group]
        lower = [
            d
            for p, group in by_priority.items()
            if p < h.priority
            for d in group
            if not (reservation and d.ends_by(reservation.until, snapshot.now))
        ]
        free = left - _total(higher)
        if (
            h.admits(bin_)
            and h.request.fits_in(free)
            and not (reservation and _leaves(free - reservation.amount, _total(lower)))
        ):
            passing |= {d.id for d in lower}
    return len(passing)


def _waiting(snapshot: Snapshot, plan: Plan) -> list[Deployment]:
    """Return one waiting deployment of each kind; none for which preemption is suspended."""
    placed = {p.deployment for p in plan.placements}
    kinds = {
        (d.priority, d.request, d.requested_cluster, d.require): d
        for d in snapshot.deployments
        if d.cluster is None and d.id not in placed and not snapshot.is_suspended(d)
    }
    return list(kinds.values())


def _reserved(snapshot: Snapshot, plan: Plan) -> dict[Place, _Reservation]:
    """Return the plan's reservations by place."""
    rows = {d.id: d for d in snapshot.deployments}
    until = {wait.deployment: wait.detail["reservation"]["until"] for wait in plan.reserved}
    return {
        place: _Reservation(rows[holder].request, until[holder])
        for place, holder in holders(plan).items()
    }


def _leaves(left: Resources, wanted: Resources) -> bool:
    """Return whether what is wanted is left, in each dimension in which anything is wanted."""
    amounts = left.to_json()
    return all(amount == 0 or amount <= amounts[name] for name, amount in wanted.to_json().items())


def _total(deployments: Iterable[Deployment]) -> Resources:
    return sum((d.request for d in deployments), NOTHING)
