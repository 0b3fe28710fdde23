"""Let no cycle wait for a process that first has to read all deployments of a large organization.

A process needs a working copy to plan, and reads all rows for it when it begins, after some time,
and most of them after large submissions that others have decided about. With 100,000 that takes
longer than ten cycles. So such a process leaves the cycle to the background, whose copy is probably
newer, and makes its own meanwhile.
"""

from django.conf import settings

from scheduling.cycle import working_copy
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import load
from scheduling.models import SchedulingCycle

_MANY = 20_000
"""How many deployments that the copy lacks take so long to read that a cycle should not wait."""

_RENEWED = 0.75
"""The part of its time after which a copy is renewed after a cycle, and not before a later one."""


def is_cold(organization_id: int) -> bool:
    """Return whether a cycle here would first have to read many deployments.

    How many there are is known from the last cycle of any process.
    """
    ready = _ready_at_last(organization_id)
    keeps_copies = settings.SCHEDULER_COPY_SECONDS and ready < working_copy.MOST_DEPLOYMENTS
    return bool(keeps_copies) and ready - working_copy.size(organization_id) > _MANY


def warm_up(organization_id: int) -> None:
    """Bring this process's copy and plan up to date, without any lock."""
    next_plan(load(organization_id, lock=False))


def renew(organization_id: int) -> None:
    """Read all deployments again after a cycle if a later one would soon have to."""
    age = working_copy.age_s(organization_id)
    if age is not None and age > _RENEWED * settings.SCHEDULER_COPY_SECONDS:
        working_copy.forget(organization_id)
        warm_up(organization_id)


def _ready_at_last(organization_id: int) -> int:
    cycles = SchedulingCycle.objects.filter(organization=organization_id).order_by("-pk")
    return cycles.values_list("ready", flat=True).first() or 0
