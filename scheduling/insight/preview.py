"""Preview an operator's action, and carry it out if the preview still holds.

A preview makes the change in a transaction that is rolled back, and plans before and after it.
It can therefore contradict neither the services nor the next cycle.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import pghistory
from django.db import transaction
from django.utils import timezone

from clusters.models import Cluster, Node
from clusters.places import Places
from deployments.choices import OCCUPYING, OnDependencyFailure, Status
from deployments.dependencies import lock_graph
from deployments.models import Dependency, Deployment
from hypervisor.base.errors import DomainError
from orgs.events import noted
from orgs.models import Organization
from scheduling.cycle.snapshot import load
from scheduling.insight.operator_actions import Change
from scheduling.planner.compare import Consequence, Kind, consequences
from scheduling.planner.pipeline import make_plan

_ENDING = ("cancel", "stop")
"""The actions after which the subjects' dependents wait for something that will not happen."""


@dataclass(frozen=True, slots=True)
class Touched:
    """A subject of the action: its state afterwards, or why the action is refused."""

    subject: int
    name: str
    state: str
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Dependent:
    """A deployment that depends on a subject of the action, or on another one that is cancelled
    because of it: it is cancelled, or keeps waiting.
    """

    deployment: int
    on: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """The run time that an interruption loses: since the start, or since the last checkpoint."""

    seconds: float
    since_checkpoint: bool


INTERRUPTED = (Kind.EVICTED, Kind.WITHDRAWN, Kind.MOVES, Kind.RESTARTS, Kind.WAITS)
"""The consequences that end the container of a deployment that has one."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The consequences of a change, as of now.

    `losses` are those of the deployments whose containers would be ended, by id.

    `anyway` counts the changes that the next cycle makes with or without this one. `names` has the
    names of the deployments in it by id, `places` those of clusters and nodes. Two previews with
    the same `fingerprint` have the same consequences.
    """

    change: Change
    touched: tuple[Touched, ...]
    consequences: tuple[Consequence, ...]
    dependents: tuple[Dependent, ...]
    losses: Mapping[int, Loss]
    anyway: int
    names: Mapping[int, str]
    places: Places
    fingerprint: str

    @property
    def does_something(self) -> bool:
        return any(not row.refused for row in self.touched)

    @property
    def lost_s(self) -> float:
        """The run time that all interruptions together lose, in seconds."""
        return sum(loss.seconds for loss in self.losses.values())


def preview(change: Change, *, clock: Callable[[], datetime] = timezone.now) -> Preview:
    """Return what the change would lead to, without making it."""
    with transaction.atomic():
        result = _try(change, clock)
        transaction.set_rollback(True)
    return result


def carry_out(
    change: Change, *, shown: str, note: str = "", clock: Callable[[], datetime] = timezone.now
) -> tuple[bool, Preview]:
    """Make the change if its consequences are still those of the fingerprint `shown`.

    A note, which says why, is kept with the events and the entries of the audit trail.

    Return whether it was made, and the consequences as of now. The clusters are locked, so no
    cycle decides anything in between.
    """
    with (
        transaction.atomic(),
        pghistory.context(**({"note": note} if note else {})),
        noted(note, actor=change.actor),
    ):
        result = _try(change, clock)
        same = result.fingerprint == shown
        if not same:
            transaction.set_rollback(True)
    return same, result


def _try(change: Change, clock: Callable[[], datetime]) -> Preview:
    """Make the change in the caller's transaction, and plan as the next cycle would."""
    subjects = change.action.model._default_manager.in_bulk(change.subjects)
    organizations = sorted({row.organization_id for row in subjects.values()})
    Organization.objects.protect(organizations)
    for pk in organizations:
        lock_graph(pk)
    before = [load(pk, lock=True, clock=clock) for pk in organizations]
    plans = [make_plan(loaded.snapshot) for loaded in before]
    losses = _losses(organizations, before[0].now) if before else {}
    refusals = dict(_attempts(change, subjects))
    rows: list[Consequence] = []
    for pk, earlier, plan in zip(organizations, before, plans, strict=True):
        later = load(pk, lock=False, clock=partial(_at, earlier.now))
        rows += consequences(earlier.snapshot, plan, later.snapshot, make_plan(later.snapshot))
    anyway = sum(len(p.placements) + len(p.evictions) + len(p.moves) for p in plans)
    ended = {row.deployment for row in rows if row.kind in INTERRUPTED and row.source}
    lost = {pk: loss for pk, loss in losses.items() if pk in ended}
    return _preview(change, _touched(change, subjects, refusals), tuple(rows), lost, anyway)


def _losses(organizations: Collection[int], now: datetime) -> dict[int, Loss]:
    """Return what each deployment with a running container would lose now, by id."""
    running = Deployment.objects.filter(
        organization__in=organizations, status__in=OCCUPYING, started_at__isnull=False
    )
    rows = running.order_by().values_list("pk", "started_at", "checkpoint_at")
    return {pk: _loss(started, checkpoint, now) for pk, started, checkpoint in rows if started}


def _loss(started_at: datetime, checkpoint_at: datetime | None, now: datetime) -> Loss:
    since_checkpoint = checkpoint_at is not None and checkpoint_at > started_at
    since = checkpoint_at if since_checkpoint and checkpoint_at else started_at
    return Loss(max((now - since).total_seconds(), 0), since_checkpoint)


def _at(moment: datetime) -> datetime:
    return moment


def _attempts(
    change: Change, subjects: Mapping[int, Deployment | Cluster | Node]
) -> Iterator[tuple[int, str]]:
    """Call the verb for each subject, by id; yield the id and the reason of each refusal."""
    for pk in sorted(change.subjects):
        if pk not in subjects:
            yield pk, f"The {change.action.subject} {pk} no longer exists."
            continue
        try:
            change.action.verb(subjects[pk], actor=change.actor, **change.options)
        except DomainError as error:
            yield pk, error.detail


def _touched(
    change: Change, subjects: Mapping[int, Deployment | Cluster | Node], refusals: Mapping[int, str]
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


def _state(row: Deployment | Cluster | Node | None) -> str:
    if isinstance(row, Deployment):
        return "held" if row.held else row.status
    return row.state if row else "gone"


def dependents_of(ended: Collection[int]) -> tuple[Dependent, ...]:
    """Return the pending deployments that depend on deployments that a change ends.

    Those that are cancelled because of that end as well, so their dependents follow.
    """
    found: list[Dependent] = []
    reached, new = set(ended), set(ended)
    while new:
        waits = Dependency.objects.unmet().filter(on__in=new, deployment__status=Status.PENDING)
        rows = waits.values_list("deployment", "on", "deployment__on_dependency_failure")
        further = [
            Dependent(deployment, on, cancelled=policy == OnDependencyFailure.CANCEL)
            for deployment, on, policy in rows
        ]
        found += further
        new = {row.deployment for row in further if row.cancelled} - reached
        reached |= new
    return tuple(sorted(found, key=lambda row: (row.deployment, row.on)))


def _preview(
    change: Change,
    touched: tuple[Touched, ...],
    rows: tuple[Consequence, ...],
    losses: Mapping[int, Loss],
    anyway: int,
) -> Preview:
    ended = [row.subject for row in touched if not row.refused]
    dependents = dependents_of(ended if change.action.name in _ENDING else ())
    named = {id_ for row in rows for id_ in (row.deployment, row.for_) if id_}
    named |= {id_ for row in dependents for id_ in (row.deployment, row.on)}
    at = [(row.source, row.source_node) for row in rows]
    at += [(row.target, row.target_node) for row in rows]
    return Preview(
        change,
        touched,
        rows,
        dependents,
        losses,
        anyway,
        dict(Deployment.objects.filter(pk__in=named).values_list("pk", "name")),
        Places.named(at),
        _fingerprint(change, touched, rows, dependents),
    )


def _fingerprint(
    change: Change,
    touched: tuple[Touched, ...],
    rows: tuple[Consequence, ...],
    dependents: tuple[Dependent, ...],
) -> str:
    """Return a digest of the change and its consequences, without texts, which contain times."""
    digested = [
        change.action.name,
        sorted((name, str(value)) for name, value in change.options.items()),
        [(row.subject, row.state, row.refused) for row in touched],
        [(r.deployment, r.kind, r.source_node, r.target_node, r.for_, r.code) for r in rows],
        [(row.deployment, row.on, row.cancelled) for row in dependents],
    ]
    return hashlib.sha256(json.dumps(digested).encode()).hexdigest()
