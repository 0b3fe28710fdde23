"""Write why deployments wait: with the plan while few wait, otherwise most of it after the commit.

With thousands that wait, finding and writing their reasons takes longer than the plan, and what the
plan places would wait for it. So would the next plan: if it is requested by then, it writes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from weakref import WeakValueDictionary

from clusters.wakeups import request_cycle
from deployments import lifecycle
from scheduling.cycle import lanes
from scheduling.cycle.recording import pack
from scheduling.cycle.snapshot import Loaded
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Plan, WaitReason

_FEW = 200

_AGAIN_AFTER_S = 1.0
"""How long after reasons were left out the next cycle is requested."""

_LATEST_S = 10.0
"""How long reasons may be left to cycles that are requested already."""

_left_since: dict[int, float] = {}
"""By organization, since when this process has left reasons to cycles that were requested."""

_stored: WeakValueDictionary[int, Sequence[WaitReason]] = WeakValueDictionary()
"""By organization: the wait reasons of the last plan, if this process has found all of them to be
stored. While nothing changes, the next plan has the same ones."""


def is_short(plan: Plan) -> bool:
    """Return whether so few deployments wait that everything is written with the plan."""
    return len(plan.wait_reasons) <= _FEW


def write_first(plan: Plan, loaded: Loaded) -> None:
    """Write the reasons that the caller's transaction should have: all of them if few wait.

    Otherwise those of deployments that changed, such as new ones, and those that say for which
    deployment capacity is reserved, because the next plan depends on them.
    """
    if is_short(plan):
        _write(_differing(plan.wait_reasons, loaded), plan, loaded)
        return
    wanted = {wait.deployment for wait in plan.reserved}
    wanted |= {d.id for d in loaded.snapshot.deployments if d.reserved}
    if len(loaded.read) <= _FEW:
        wanted.update(loaded.read)
    found = [plan.wait_reason(pk) for pk in sorted(wanted)]
    _write(_differing(filter(None, found), loaded), plan, loaded)


def write_rest(cycle: SchedulingCycle, plan: Plan, loaded: Loaded) -> None:
    """Write all other reasons, and the cycle's record, after the plan was committed.

    A deployment that has changed since the plan, or has got another reason, is left out: another
    cycle is requested for it. All are left out if another cycle is requested already, which finds
    them, but not for longer than `_LATEST_S`.
    """
    organization_id = cycle.organization_id
    if is_short(plan) or _stored.get(organization_id) is plan.wait_reasons:
        return
    if not plan.changes_nothing:
        record = pack(loaded.snapshot, plan)
        SchedulingCycle.objects.filter(pk=cycle.pk).update(record=record)
        cycle.record = record
    if _may_leave(organization_id):
        return
    changed = _differing(plan.wait_reasons, loaded)
    if changed and _write(changed, plan, loaded) < len(changed):
        request_cycle(organization_id, delay_s=_AGAIN_AFTER_S)
    elif not changed and plan.changes_nothing:
        _stored[organization_id] = plan.wait_reasons


def _may_leave(organization_id: int) -> bool:
    """Return whether the next cycle may write the reasons instead of this one."""
    if lanes.is_requested(organization_id):
        since = _left_since.setdefault(organization_id, monotonic())
        if monotonic() - since < _LATEST_S:
            return True
    _left_since.pop(organization_id, None)
    return False


def _differing(waits: Iterable[WaitReason], loaded: Loaded) -> dict[int, tuple[str, str]]:
    """Return the code and the sentence of each reason of which one is not as known."""
    found = {wait.deployment: _differs(wait, loaded) for wait in waits}
    return {pk: explained for pk, explained in found.items() if explained is not None}


def _differs(wait: WaitReason, loaded: Loaded) -> tuple[str, str] | None:
    known, present = loaded.known[wait.deployment], (wait.code, wait.reason)
    return None if (known.code, known.reason) == present else present


def _write(changed: Mapping[int, tuple[str, str]], plan: Plan, loaded: Loaded) -> int:
    """Write these reasons unless another cycle has written others; return how many."""
    suspended = {suspension.deployment for suspension in plan.suspensions}
    known = {pk: loaded.known[pk] for pk in changed}
    return lifecycle.record_wait_reasons(
        changed,
        # The plan's own suspension is a revision more.
        {pk: (each.revision + (pk in suspended), each.reason) for pk, each in known.items()},
    )
