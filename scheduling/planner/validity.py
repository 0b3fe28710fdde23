"""How long a plan stays right while only time passes."""

from collections.abc import Iterator

from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot


def valid_until(snapshot: Snapshot, plan: Plan, backlog: Backlog) -> int:
    """Return the first second at which the same rows, of this backlog, may lead to another plan.

    It is the present second for a plan that changes something, because what an eviction loses grows
    with time.
    """
    if not plan.changes_nothing:
        return snapshot.now
    moments = [*_moments(snapshot, plan, backlog), *_of_reservations(snapshot, plan, backlog)]
    return min(moment for moment in moments if moment > snapshot.now)


def _of_reservations(snapshot: Snapshot, plan: Plan, backlog: Backlog) -> Iterator[int]:
    """Yield when deployments end too late to use reserved capacity, and the next second if the time
    at which that will be free is postponed because an active one runs for longer than it may.
    """
    if not plan.reserved:
        return
    untils = {wait.detail["reservation"]["until"] for wait in plan.reserved}
    limits = {d.max_runtime_s for d in backlog.others.values()}
    for max_runtime_s in limits.union(*(g.run_times for g in backlog.groups.values())) - {None}:
        yield from (until - max_runtime_s + 1 for until in untils - {None})
    yield from (
        snapshot.now + 1
        for d in backlog.others.values()
        if d.placed_at is not None
        and d.max_runtime_s is not None
        and d.placed_at + d.max_runtime_s <= snapshot.now
    )


def _moments(snapshot: Snapshot, plan: Plan, backlog: Backlog) -> Iterator[int]:
    """Yield moments, also past ones, at which a rule may look at a deployment differently.

    Periods double only at multiples of twice the shortest one (see `turns`). Capacity is reserved
    for a deployment that takes turns once the rest of an active one's run time is at most its wait.
    """
    now, policy = snapshot.now, snapshot.policy
    doubling = 2 * max(policy.starvation_seconds, 1)
    yield now - now % doubling + doubling
    yield from (turn.changes_at for turn in plan.turns)
    waits = [d.waits_since for d in backlog.of_ids({turn.deployment for turn in plan.turns})]
    for group in backlog.groups.values():
        since = group.next_since(now - policy.starvation_seconds - 1)
        if since is not None:
            yield since + policy.starvation_seconds + 1
    for d in backlog.others.values():
        if d.cluster is None:
            yield d.waits_since + policy.starvation_seconds + 1
            if d.suspended_until is not None:
                yield d.suspended_until
        elif d.placed_at is not None:
            yield d.placed_at + policy.min_run_seconds
            if d.max_runtime_s is not None:
                end = d.placed_at + d.max_runtime_s
                yield from (end, *((end + since + 1) // 2 for since in waits))
