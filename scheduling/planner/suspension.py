"""Suspend preemption for a deployment that preempts again and again but never starts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from scheduling.planner.plan import SUSPENDED, Plan, Suspension
from scheduling.planner.snapshot import Deployment, Snapshot


def suspensions(
    snapshot: Snapshot, plan: Plan, planned: Iterable[Deployment]
) -> tuple[Suspension, ...]:
    """Return a suspension for each ready deployment for which this plan should not preempt, by id.

    `planned` are the deployments that the plan has not left out.

    Preemption is suspended for a deployment that would evict a victim again that was evicted for it
    in vain since it was queued, and for a deployment that preempted within the budget's window for
    a run that ended without having started.
    """
    victims: dict[int, set[int]] = defaultdict(set)
    pairs = [(e.for_, e.deployment) for e in plan.evictions]
    pairs += [(m.for_, m.deployment) for m in plan.moves]
    for preemptor, victim in pairs:
        if preemptor is not None:
            victims[preemptor].add(victim)
    if not victims:
        return ()
    preemptors = [d for d in planned if d.id in victims and d.cluster is None]
    until = snapshot.now + snapshot.policy.suspension_seconds
    reasons = {d.id: _reason(d, victims[d.id]) for d in preemptors}
    return tuple(
        Suspension(id_, until, SUSPENDED, _sentence(reason, until))
        for id_, reason in sorted(reasons.items())
        if reason
    )


def suspended(snapshot: Snapshot, suspensions: Sequence[Suspension]) -> Snapshot:
    """Return the snapshot with the suspensions in effect."""
    until = {s.deployment: s.until for s in suspensions}
    if not until:
        return snapshot
    rows = (
        replace(d, suspended_until=until[d.id]) if d.id in until else d
        for d in snapshot.deployments
    )
    return replace(snapshot, deployments=tuple(rows))


def _reason(preemptor: Deployment, victims: set[int]) -> str:
    again = next((victim for victim in preemptor.past_victims if victim in victims), None)
    if again is not None:
        return (
            f"deployment {again} would be evicted for it a second time, but it did not start after"
            " the first"
        )
    if preemptor.preempted_in_vain:
        return "other deployments were evicted for it before and it never started"
    return ""


def _sentence(reason: str, until: int) -> str:
    moment = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"No deployment is preempted for it until {moment}, because {reason}."
