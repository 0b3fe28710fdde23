"""Write why deployments wait: with the plan while few wait, otherwise most of it in the background.

With thousands that wait, finding and writing their reasons takes far longer than the plan. What the
plan places must not wait for it, nor must the next plan, so a worker of the background does it, by
a plan of its own: the next one, which `explain` shows as well.
"""

from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest

from clusters.wakeups import clear_rerun, request_cycle, request_rerun, rerun_requested
from deployments import lifecycle, waiting
from deployments.models import Deployment
from hypervisor.base.long_locks import Name, try_to_hold
from scheduling.cycle import lanes
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load
from scheduling.cycle.stored_reasons import Explained, all_differing, differing
from scheduling.planner.plan import Plan, Stated, WaitReason
from scheduling.planner.shortlist import Backlog

_FEW = 200

_BATCH = 1_000
"""How many reasons are written by one statement: a cycle reads again what one has written."""

_AGAIN_AFTER_S = 1.0
"""How long after reasons were left out the next cycle is requested."""

_UNDECIDED = frozenset({"submitted", "restarted", "released", "updated", "dependency_met"})
"""The codes of deployments about which no cycle has decided yet."""


def is_short(plan: Plan) -> bool:
    """Return whether so few deployments wait that everything is written with the plan."""
    return len(plan.wait_reasons) <= _FEW


def write_first(plan: Plan, loaded: Loaded, backlog: Backlog) -> None:
    """Write the reasons that the caller's transaction should have: all of them if few wait.

    Otherwise those of deployments that changed, such as new ones, and those that the next plan
    depends on: they say for which deployment capacity is reserved, and which elements of arrays
    compete.
    """
    _write(differing(_beyond(loaded), loaded), plan, loaded)
    _begin_waits(plan, loaded)
    if is_short(plan):
        _write(differing(plan.wait_reasons, loaded), plan, loaded)
        return
    wanted = {*loaded.limits.entered, *(wait.deployment for wait in plan.reserved)}
    wanted |= {d.id for d in backlog.reserved}
    wanted.update(_undecided(loaded))
    found = [plan.wait_reason(pk) for pk in sorted(wanted)]
    _write(differing(filter(None, found), loaded), plan, loaded)


def _undecided(loaded: Loaded) -> Iterable[int]:
    """Return deployments that changed; of many, the newest about which no cycle has decided.

    The others are part of a large submission, or the background is writing their reasons.
    """
    if len(loaded.read) <= _FEW:
        return loaded.read
    return nlargest(_FEW, (pk for pk in loaded.read if loaded.known[pk].code in _UNDECIDED))


def _beyond(loaded: Loaded) -> Iterator[WaitReason]:
    """Yield the reasons of elements that the limits of their arrays keep out of the plan."""
    for pk, at_once in loaded.limits.beyond.items():
        found = waiting.beyond_limit(at_once)
        yield WaitReason(pk, Stated(found.code, found.reason))


def _begin_waits(plan: Plan, loaded: Loaded) -> None:
    """Store that elements which the plan leaves pending compete from now on."""
    placed = {placement.deployment for placement in plan.placements}
    entered = loaded.limits.entered - placed
    if entered:
        rows = Deployment.objects.pending().filter(pk__in=entered).locked(skip_locked=True)
        found = list(rows.values_list("pk", flat=True))
        Deployment.objects.filter(pk__in=found).update(ready_after=loaded.now)


def write_rest(organization_id: int) -> None:
    """Write why all deployments of an organization wait that have another reason now.

    A deployment that has changed since its row was read, or has got another reason, is left out,
    and a cycle is requested, which requests this again. If another process is writing them already,
    that process requests this again, as in `lock`. What a plan depends on is left to the cycles:
    which deployments have the reservations, for which ones preemption is suspended, and when the
    waits of an array's elements begin.
    """
    is_complete = _try_rest(organization_id)
    if is_complete is None:
        request_rerun(lanes.WRITE_REASONS, organization_id)
        is_complete = _try_rest(organization_id)
    if is_complete is None:
        return
    if not is_complete:
        request_cycle(organization_id, delay_s=_AGAIN_AFTER_S)
    if rerun_requested(lanes.WRITE_REASONS, organization_id):
        lanes.request_reasons(organization_id)


def _try_rest(organization_id: int) -> bool | None:
    """Write the reasons unless another process does; return whether none was left out."""
    with try_to_hold(Name("scheduling.reasons", organization_id)) as is_free:
        if not is_free:
            return None
        clear_rerun(lanes.WRITE_REASONS, organization_id)
        return _write_rest(organization_id)


def _write_rest(organization_id: int) -> bool:
    """Write the reasons that differ; return whether none was left out."""
    loaded = load(organization_id, lock=False)
    plan = next_plan(loaded)
    suspended = {suspension.deployment for suspension in plan.suspensions}
    changed = written = 0
    for found in all_differing(plan, loaded, _BATCH):
        batch = {
            pk: (code, sentence)
            for pk, (code, sentence) in found.items()
            if code != "reserved" and not loaded.known[pk].deployment.reserved
            if pk not in suspended and pk not in loaded.limits.entered
        }
        changed += len(batch)
        written += _write(batch, plan, loaded)
    return written == changed


def _write(changed: Mapping[int, Explained], plan: Plan, loaded: Loaded) -> int:
    """Write these reasons unless another cycle has written others; return how many."""
    suspended = {suspension.deployment for suspension in plan.suspensions}
    known = {pk: loaded.known[pk] for pk in changed}
    return lifecycle.record_wait_reasons(
        changed,
        # The plan's own suspension is a revision more.
        {pk: (each.revision + (pk in suspended), each.reason) for pk, each in known.items()},
    )
