"""Write why deployments wait: with the plan while few wait, otherwise most of it after the commit.

With thousands that wait, finding and writing their reasons takes longer than the plan, and what the
plan places would wait for it.
"""

from collections.abc import Iterable, Mapping

from clusters.wakeups import request_cycle
from deployments import lifecycle
from scheduling.cycle.recording import pack
from scheduling.cycle.snapshot import Loaded
from scheduling.cycle.working_copy import Known
from scheduling.models import SchedulingCycle
from scheduling.planner.plan import Plan, WaitReason
from scheduling.planner.snapshot import Cluster

_FEW = 200

_AGAIN_AFTER_S = 1.0
"""How long after reasons were left out the next cycle is requested."""

_settled: dict[int, tuple[Mapping[int, Known], tuple[Cluster, ...]]] = {}
"""By organization: deployments and clusters of which this process has found every reason to be as
it is stored."""


def is_short(plan: Plan) -> bool:
    """Return whether so few deployments wait that everything is written with the plan."""
    return len(plan.wait_reasons) <= _FEW


def write_first(plan: Plan, loaded: Loaded) -> None:
    """Write the reasons that the caller's transaction should have: all of them if few wait.

    Otherwise those of deployments that changed, such as new ones, and those that say for which
    deployment capacity is reserved, because the next plan depends on them.
    """
    if is_short(plan):
        _write(plan.wait_reasons, plan, loaded)
        return
    wanted = {wait.deployment for wait in plan.reserved}
    wanted |= {d.id for d in loaded.snapshot.deployments if d.reserved}
    if len(loaded.read) <= _FEW:
        wanted.update(loaded.read)
    found = [plan.wait_reason(pk) for pk in sorted(wanted)]
    _write([wait for wait in found if wait], plan, loaded)


def write_rest(cycle: SchedulingCycle, plan: Plan, loaded: Loaded) -> None:
    """Write all other reasons, and the cycle's record, after the plan was committed.

    A deployment that has changed since the plan, or has got another reason, is left out: another
    cycle is requested for it.
    """
    organization_id = cycle.organization_id
    if is_short(plan) or _is_settled(organization_id, plan, loaded):
        return
    if not plan.changes_nothing:
        record = pack(loaded.snapshot, plan)
        SchedulingCycle.objects.filter(pk=cycle.pk).update(record=record)
        cycle.record = record
    changed = [wait for wait in plan.wait_reasons if _differs(wait, loaded)]
    if changed and _write(changed, plan, loaded) < len(changed):
        request_cycle(organization_id, delay_s=_AGAIN_AFTER_S)
    elif not changed and plan.changes_nothing:
        _settled[organization_id] = loaded.known, loaded.snapshot.clusters


def _is_settled(organization_id: int, plan: Plan, loaded: Loaded) -> bool:
    """Return whether the reasons are certainly as they are stored.

    With reservations and suspensions they also change as time goes on.
    """
    if plan.reserved or not plan.changes_nothing:
        return False
    known, clusters = _settled.get(organization_id, (None, ()))
    return (
        known is loaded.known
        and clusters == loaded.snapshot.clusters
        and not any(d.suspended_until for d in loaded.snapshot.deployments)
    )


def _write(waits: Iterable[WaitReason], plan: Plan, loaded: Loaded) -> int:
    """Write the reasons that differ, unless another cycle has written others; return how many."""
    suspended = {suspension.deployment for suspension in plan.suspensions}
    changed = [wait for wait in waits if _differs(wait, loaded)]
    known = {wait.deployment: loaded.known[wait.deployment] for wait in changed}
    return lifecycle.record_wait_reasons(
        {wait.deployment: (wait.code, wait.reason) for wait in changed},
        # The plan's own suspension is a revision more.
        {pk: (each.revision + (pk in suspended), each.reason) for pk, each in known.items()},
    )


def _differs(wait: WaitReason, loaded: Loaded) -> bool:
    known = loaded.known[wait.deployment]
    return (known.code, known.reason) != (wait.code, wait.reason)
