"""What would happen if an operator did this; and doing just that, or asking again.

A forecast is the change itself, tried in a transaction that is rolled back, and the planner asked
before and after it. So it cannot disagree with the services, nor with the next cycle.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction
from django.utils import timezone

from clusters.models import Cluster
from deployments.dependencies import lock_graph
from deployments.models import Dependency, Deployment, OnDependencyFailure, Status
from hypervisor.base.errors import DomainError
from orgs.models import Organization
from scheduling.cycle.snapshot import load
from scheduling.insight.operator_actions import Change
from scheduling.planner.compare import Consequence, consequences
from scheduling.planner.pipeline import make_plan

_ENDING = ("cancel", "stop")
"""The actions after which what waits for the subjects waits in vain."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What the action does to one of its subjects: its state afterwards, or why it is refused."""

    subject: int
    name: str
    state: str
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Dependent:
    """One that waits for what the action ends: it would be cancelled, or wait on."""

    deployment: int
    on: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """The consequences of a change, as of now.

    `anyway` counts what the next cycle does whether or not the change is made. `names` and
    `clusters` say how people call the deployments and clusters in it. Two forecasts with one
    `fingerprint` have the same consequences.
    """

    change: Change
    touched: tuple[Touched, ...]
    consequences: tuple[Consequence, ...]
    dependents: tuple[Dependent, ...]
    anyway: int
    names: Mapping[int, str]
    clusters: Mapping[int, str]
    fingerprint: str

    @property
    def does_something(self) -> bool:
        return any(not row.refused for row in self.touched)


def forecast(change: Change, *, clock: Callable[[], datetime] = timezone.now) -> Forecast:
    """Say what would happen, and change nothing."""
    with transaction.atomic():
        tried = _try(change, clock)
        transaction.set_rollback(True)
    return tried


def carry_out(
    change: Change, *, shown: str, clock: Callable[[], datetime] = timezone.now
) -> tuple[bool, Forecast]:
    """Make the change if its consequences are still those of the fingerprint `shown`.

    Returns whether it was made, and the consequences as they are now. Under the locks of the
    clusters: no cycle decides anything in between.
    """
    with transaction.atomic():
        tried = _try(change, clock)
        same = tried.fingerprint == shown
        if not same:
            transaction.set_rollback(True)
    return same, tried


def _try(change: Change, clock: Callable[[], datetime]) -> Forecast:
    """Make the change in the caller's transaction, and plan as the next cycle would."""
    subjects = change.action.model._default_manager.in_bulk(change.subjects)
    organizations = sorted({row.organization_id for row in subjects.values()})
    Organization.objects.protect(organizations)
    for pk in organizations:
        lock_graph(pk)
    before = [load(pk, lock=True, clock=clock) for pk in organizations]
    plans = [make_plan(loaded.snapshot) for loaded in before]
    refusals = dict(_attempts(change, subjects))
    rows: list[Consequence] = []
    for pk, earlier, plan in zip(organizations, before, plans, strict=True):
        later = load(pk, lock=False, clock=partial(_at, earlier.now))
        rows += consequences(earlier.snapshot, plan, later.snapshot, make_plan(later.snapshot))
    anyway = sum(len(p.placements) + len(p.evictions) + len(p.moves) for p in plans)
    return _told(change, _touched(change, subjects, refusals), tuple(rows), anyway)


def _at(moment: datetime) -> datetime:
    return moment


def _attempts(
    change: Change, subjects: Mapping[int, Deployment | Cluster]
) -> Iterator[tuple[int, str]]:
    """Do it to each subject, in the order of their ids; yield why each refused one is."""
    for pk in sorted(change.subjects):
        if pk not in subjects:
            yield pk, f"There is no {change.action.subject} {pk} any more."
            continue
        try:
            change.action.verb(subjects[pk], actor=change.actor, **change.options)
        except DomainError as error:
            yield pk, error.detail


def _touched(
    change: Change, subjects: Mapping[int, Deployment | Cluster], refusals: Mapping[int, str]
) -> tuple[Touched, ...]:
    rows = change.action.model._default_manager.in_bulk(change.subjects)
    return tuple(
        Touched(
            subject=pk,
            name=subjects[pk].name if pk in subjects else f"{change.action.subject} {pk}",
            state=_state(rows.get(pk)),
            reason=refusals.get(pk) or str(getattr(rows.get(pk), "status_reason", "")),
            refused=pk in refusals,
        )
        for pk in sorted(change.subjects)
    )


def _state(row: Deployment | Cluster | None) -> str:
    if isinstance(row, Deployment):
        return "held" if row.held else row.status
    return row.state if row else "gone"


def _dependents(change: Change, refusals: set[int]) -> tuple[Dependent, ...]:
    if change.action.name not in _ENDING:
        return ()
    waits = Dependency.objects.unmet().filter(
        on__in=set(change.subjects) - refusals, deployment__status=Status.PENDING
    )
    rows = waits.values_list("deployment", "on", "deployment__on_dependency_failure")
    return tuple(
        Dependent(deployment, on, cancelled=policy == OnDependencyFailure.CANCEL)
        for deployment, on, policy in rows.order_by("deployment", "on")
    )


def _told(
    change: Change, touched: tuple[Touched, ...], rows: tuple[Consequence, ...], anyway: int
) -> Forecast:
    dependents = _dependents(change, {row.subject for row in touched if row.refused})
    named = {id_ for row in rows for id_ in (row.deployment, row.for_) if id_}
    named |= {id_ for row in dependents for id_ in (row.deployment, row.on)}
    at = {id_ for row in rows for id_ in (row.source, row.target) if id_}
    return Forecast(
        change,
        touched,
        rows,
        dependents,
        anyway,
        dict(Deployment.objects.filter(pk__in=named).values_list("pk", "name")),
        dict(Cluster.objects.filter(pk__in=at).values_list("pk", "name")),
        _fingerprint(change, touched, rows, dependents),
    )


def _fingerprint(
    change: Change,
    touched: tuple[Touched, ...],
    rows: tuple[Consequence, ...],
    dependents: tuple[Dependent, ...],
) -> str:
    """Digest what is done, and what comes of it; not the wording, which tells of times."""
    told = [
        change.action.name,
        sorted((name, str(value)) for name, value in change.options.items()),
        [(row.subject, row.state, row.refused) for row in touched],
        [(r.deployment, r.kind, r.source, r.target, r.for_, r.code) for r in rows],
        [(row.deployment, row.on, row.cancelled) for row in dependents],
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
