"""Notice a preemptor that takes room again and again without getting anything done."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F

from deployments.models import Deployment, Run, Status
from orgs.events import record_many
from orgs.models import Event
from scheduling.core.plan import Plan

SET_ASIDE = timedelta(hours=1)
"""How long nobody is preempted for one that thrashes: it takes only what all others leave."""


def suspects(plan: Plan, now: datetime) -> dict[int, str]:
    """Return, by id, why each preemptor of the plan that thrashes does.

    One does whose victim has left for it before, since it was queued; or for which others left,
    within the budget's window, and which then ended without ever having started.
    """
    pairs = {(d.deployment, d.for_) for d in plan.evictions if d.for_ is not None}
    pairs |= {(d.deployment, d.for_) for d in plan.moves if d.for_ is not None}
    if not pairs:
        return {}
    since = now - timedelta(seconds=settings.SCHEDULER_BUDGET_WINDOW_SECONDS)
    left = Run.objects.filter(
        preempted_by__in={preemptor for _, preemptor in pairs}, released_at__gt=since
    )
    again = left.filter(released_at__gte=F("preempted_by__queued_at"))
    found = {
        preemptor: f"deployment {victim} would leave for it a second time"
        for victim, preemptor in again.values_list("deployment", "preempted_by").order_by("-pk")
        if (victim, preemptor) in pairs
    }
    never_started = Run.objects.filter(
        deployment__in=left.values("preempted_by"),
        started_at=None,
        outcome__in=(Run.Outcome.FAILED, Run.Outcome.STOPPED),
        placed_at__gt=since,
    )
    for preemptor in never_started.values_list("deployment", flat=True):
        found.setdefault(preemptor, "others left for it before, and it never started")
    return found


def set_aside(reasons: dict[int, str], now: datetime, *, actor: str) -> None:
    """Have nobody preempted for these pending deployments for a while, and say so."""
    until = now + SET_ASIDE
    rows = Deployment.objects.filter(pk__in=reasons, status=Status.PENDING)
    rows.update(set_aside_until=until, revision=F("revision") + 1)
    record_many(
        [
            Event(
                organization_id=organization,
                subject=Event.Subject.DEPLOYMENT,
                subject_id=pk,
                time=now,
                kind="thrash",
                actor=actor,
                reason=f"Thrashes: {reasons[pk]}. Nobody is preempted for it until"
                f" {until:%Y-%m-%d %H:%M:%S} UTC.",
            )
            for pk, organization in rows.order_by("pk").values_list("pk", "organization")
        ]
    )
