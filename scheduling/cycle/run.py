"""One scheduling cycle of one organization: snapshot, plan, apply, in one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from time import perf_counter_ns

import structlog
from django.conf import settings
from django.utils import timezone

from clusters.wakeups import request_cycle
from hypervisor.base import tracing
from orgs.models import Organization
from scheduling.cycle import lanes
from scheduling.cycle.apply import apply, lock_unchanged
from scheduling.cycle.explaining import is_short, write_first
from scheduling.cycle.lock import in_turn
from scheduling.cycle.next_plan import plan_and_backlog
from scheduling.cycle.recording import pack, store
from scheduling.cycle.snapshot import Loaded, load
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Plan
from scheduling.planner.reserved import idle_after
from scheduling.planner.resources import Resources

_ATTEMPTS = 3

log = structlog.get_logger(__name__)


def run_cycle(
    organization_id: int,
    trigger: SchedulingCycle.Trigger,
    *,
    clock: Callable[[], datetime] = timezone.now,
    when_committed: Callable[[], None] = lambda: None,
) -> SchedulingCycle | None:
    """Run a cycle: decide which deployments run where, and write the decisions, all or none.

    1. Take the organization's lock, and lock its clusters, so that no other transaction allocates
       capacity.
    2. Read the snapshot.
    3. Plan.
    4. Lock the rows that the plan changes. If one has changed since the snapshot, start again.
    5. Apply the plan, write why deployments wait, and record the cycle.
    6. After the commit, request that the containers are reconciled, and another cycle for when a
       turn begins or ends. If many wait, write the record only then, and request that the
       background writes most of the reasons.

    Return None when the organization no longer exists. Also return None when another cycle of it is
    running, another transaction keeps its rows locked, or the plan's deployments changed during
    every attempt; in these three cases another cycle has been requested.
    """
    began = perf_counter_ns()
    attempt = partial(_attempt, organization_id, trigger, clock)
    for _ in range(_ATTEMPTS):
        outcome = in_turn(organization_id, attempt)
        if isinstance(outcome, _Decided):
            committed = perf_counter_ns()
            when_committed()
            _finish(outcome)
            _trace(began, outcome, committed)
            return outcome.cycle
        if outcome is None:
            return None
    request_cycle(organization_id)
    log.warning("cycle_superseded", organization=organization_id, attempts=_ATTEMPTS)
    return None


class Superseded:
    """The result of an attempt if rows that its plan changes have changed since the snapshot."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """The result of an attempt whose plan was applied.

    `times` are when it began, and when its phases ended, by `perf_counter_ns`.
    """

    cycle: SchedulingCycle
    plan: Plan
    loaded: Loaded
    times: tuple[int, int, int, int]


def _attempt(
    organization_id: int, trigger: SchedulingCycle.Trigger, clock: Callable[[], datetime]
) -> _Decided | Superseded | None:
    started = perf_counter_ns()
    loaded = load(organization_id, lock=True, clock=clock)
    if not loaded.snapshot.clusters and not _exists(organization_id):
        return None
    loaded_at = perf_counter_ns()
    plan, backlog = plan_and_backlog(loaded)
    planned_at = perf_counter_ns()
    if not lock_unchanged(plan, loaded):
        return Superseded()
    apply(plan, loaded)
    write_first(plan, loaded, backlog)
    _request_at_next_turn(organization_id, loaded, plan)
    times = (started, loaded_at, planned_at, perf_counter_ns())
    idle = idle_after(loaded.snapshot, plan, backlog)
    cycle = _record(organization_id, trigger, loaded, plan, times, idle)
    return _Decided(cycle, plan, loaded, times)


def _finish(decided: _Decided) -> None:
    """Write the record of a cycle after which many wait, and request their reasons."""
    cycle, plan = decided.cycle, decided.plan
    if is_short(plan):
        return
    if not plan.changes_nothing:
        store(cycle, pack(decided.loaded.snapshot, plan, codes=False))
    lanes.request_reasons(cycle.organization_id)


def _trace(began: int, decided: _Decided, committed: int) -> None:
    """Record a trace of the cycle; the time of superseded attempts belongs to the lock."""
    cycle = decided.cycle
    names = ("lock", "snapshot", "plan", "apply", "commit", "record")
    ends = (*decided.times, committed, perf_counter_ns())
    counts = ("ready", "placed", "evicted", "moved", "left_pending")
    tracing.record(
        "cycle",
        began,
        list(zip(names, ends, strict=True)),
        {
            "organization": cycle.organization_id,
            "cycle": cycle.pk,
            "trigger": cycle.trigger,
            **{name: getattr(cycle, name) for name in counts},
        },
    )


def _request_at_next_turn(organization_id: int, loaded: Loaded, plan: Plan) -> None:
    """Request a cycle for when a turn begins or ends, unless a periodic one comes before."""
    changes = [turn.changes_at - loaded.now.timestamp() for turn in plan.turns]
    delay_s = min(changes, default=settings.SCHEDULER_INTERVAL)
    if delay_s < settings.SCHEDULER_INTERVAL:
        request_cycle(organization_id, delay_s=delay_s)


def _exists(organization_id: int) -> bool:
    return Organization.objects.filter(pk=organization_id).exists()


def _record(
    organization_id: int,
    trigger: SchedulingCycle.Trigger,
    loaded: Loaded,
    plan: Plan,
    times: tuple[int, int, int, int],
    idle: Mapping[int, Resources],
) -> SchedulingCycle:
    phases = [(after - before) // 1000 for before, after in pairwise(times)]
    cycle = SchedulingCycle.objects.create(
        organization_id=organization_id,
        trigger=trigger,
        started_at=loaded.now,
        snapshot_us=phases[0],
        plan_us=phases[1],
        apply_us=phases[2],
        ready=len(plan.placements) + len(plan.wait_reasons),
        placed=len(plan.placements),
        evicted=len(plan.evictions),
        moved=len(plan.moves),
        left_pending=len(plan.wait_reasons),
        suspended=len(plan.suspensions),
        record=pack(loaded.snapshot, plan) if is_short(plan) and not plan.changes_nothing else None,
        idle={str(cluster): amounts.to_json() for cluster, amounts in idle.items()},
    )
    log.info(
        "cycle",
        organization=organization_id,
        trigger=trigger,
        ready=cycle.ready,
        placed=cycle.placed,
        evicted=cycle.evicted,
        moved=cycle.moved,
        left_pending=cycle.left_pending,
        microseconds=sum(phases),
    )
    return cycle
