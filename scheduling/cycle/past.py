"""The evictions of the recent past, as far as the planner's rules refer to them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.db.models import Count, F, Max, OuterRef, Q, QuerySet, Subquery

from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from hypervisor.base.arrays import Among
from hypervisor.base.statements import ANY_IDS, ANY_TIME, Statement
from orgs.models import Event


@dataclass(frozen=True, slots=True)
class InVain:
    """An eviction at a time whose preemptor lost the place before its container started.

    `ended`: the preemptor failed or was stopped; otherwise it was queued again.
    """

    at: datetime
    victim: int
    ended: bool


@dataclass(frozen=True, slots=True)
class PastOf:
    """The past of one deployment within the budget's window.

    `evictions` counts its own, the last of them at `evicted_at`; `in_vain` are the evictions in
    vain for it, the earliest first.
    """

    evictions: int = 0
    evicted_at: datetime | None = None
    in_vain: tuple[InVain, ...] = ()

    def victims_since(self, queued_at: datetime) -> tuple[int, ...]:
        return tuple(dict.fromkeys([e.victim for e in self.in_vain if e.at >= queued_at]))

    @property
    def ended_in_vain(self) -> bool:
        return any(e.ended for e in self.in_vain)


NO_PAST = PastOf()


def past(organization_ids: Sequence[int], now: datetime) -> dict[int, PastOf]:
    """Return the past of each deployment of the organizations that has one, by id."""
    since = now - timedelta(seconds=settings.SCHEDULER_POLICY.budget_window_seconds)
    counts = _counts().rows(organization_ids, since)
    evictions = {victim: (number, last) for victim, number, last in counts}
    in_vain = _in_vain(organization_ids, since)
    return {
        pk: PastOf(*evictions.get(pk, (0, None)), tuple(in_vain.get(pk, ())))
        for pk in evictions.keys() | in_vain.keys()
    }


def _lost() -> QuerySet[Run]:
    """Return the runs of some organizations that lost their place to others since some time."""
    outcome = Run.Outcome
    lost = Q(outcome=outcome.EVICTED) | Q(outcome=outcome.MOVED, preempted_by__isnull=False)
    deployment = Deployment.objects.filter(pk=OuterRef("deployment"))
    # Not by a join: as long as PostgreSQL's statistics do not know a new organization, such a join
    # begins with all of its deployments and looks for the runs of each.
    runs = Run.objects.alias(of=Subquery(deployment.values("organization")))
    return runs.filter(lost, Among("of", ANY_IDS), released_at__gt=ANY_TIME)


@cache
def _counts() -> Statement:
    """Return the statement for how often each deployment was evicted, and when it last was."""
    rows = _lost().order_by().values_list("deployment")
    return Statement.of(rows.annotate(Count("pk"), Max("released_at")))


@cache
def _victims() -> Statement:
    """Return the statement for the evictions in vain of pending preemptors, the earliest first.

    The preemptor's run was placed at the moment at which the victim's run was released.
    """
    rows = _lost().filter(
        preempted_by__status=Status.PENDING,
        preempted_by__runs__placed_at=F("released_at"),
        preempted_by__runs__started_at=None,
    )
    columns = "preempted_by", "released_at", "deployment", "preempted_by__runs__outcome"
    return Statement.of(rows.order_by("released_at", "pk").values_list(*columns))


def _in_vain(organization_ids: Sequence[int], since: datetime) -> dict[int, list[InVain]]:
    """Return the evictions in vain by their pending preemptors."""
    ended = (Run.Outcome.FAILED, Run.Outcome.STOPPED)
    found: dict[int, list[InVain]] = defaultdict(list)
    for preemptor, at, victim, outcome in _victims().rows(organization_ids, since):
        if at is not None:
            found[preemptor].append(InVain(at, victim, outcome in ended))
    lifted = _last_lifted(found)
    return {
        preemptor: [e for e in evictions if e.at >= lifted.get(preemptor, e.at)]
        for preemptor, evictions in found.items()
    }


def _last_lifted(preemptors: Collection[int]) -> dict[int, datetime]:
    """Return when a user last released each preemptor from a hold or changed its priority."""
    if not preemptors:
        return {}
    lifting = Q(kind="released") | Q(kind="updated", data__has_key="priority")
    events = Event.objects.filter(
        lifting, subject=Event.Subject.DEPLOYMENT, subject_id__in=preemptors
    )
    rows = events.order_by().values_list("subject_id")
    return dict(rows.annotate(Max("time")))
