"""Try a change: make it, roll it back, and plan what the next cycle would do after it.

An operator's preview holds the locks of the clusters while it plans, because its confirmation must
find the same situation. A trial is never confirmed, so it plans after its transaction has ended:
it keeps a cycle waiting no longer than the change itself.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.utils import timezone

from clusters.wakeups import RUN_CYCLE, Wakeup, withheld
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.base.locks import wait_at_most
from orgs.tenancy import Person
from scheduling.cycle import working_copy
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.snapshot import Loaded, load_many
from scheduling.cycle.working_copy import Known
from scheduling.insight.preview import Dependent, dependents_of
from scheduling.periodic import seconds_between_cycles
from scheduling.planner.compare import KINDS, Consequence, Kind, consequences
from scheduling.planner.problem import lost_seconds
from scheduling.planner.snapshot import Place, Snapshot

_LOCK_MS = 1000
"""How long a trial waits for each lock, such as that of a cycle, before it is refused."""

_MOST = 1000
"""How many consequences are listed, the worst first; the others are only counted."""

_LOSING = (Kind.EVICTED, Kind.WITHDRAWN, Kind.MOVES, Kind.RESTARTS)
_ENDED = (Status.STOPPING, Status.STOPPED, Status.CANCELLED)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effect:
    """A consequence for a deployment of an organization, with the names of its places.

    `lost_s` is the run time in seconds that it would lose, None if it would lose no place. `name`
    is None if the user may not see the deployment.
    """

    consequence: Consequence
    organization: int
    name: str | None
    source_name: str
    target_name: str
    lost_s: int | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What the next cycle would do after a change, as of now.

    `effects` are the first of `count`, the worst first. `anyway` counts what the next cycle does
    with or without the change. It begins at `begins_by` at the latest; None if the change requests
    no cycle.
    """

    effects: tuple[Effect, ...] = ()
    count: int = 0
    dependents: tuple[Dependent, ...] = ()
    anyway: int = 0
    begins_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """An organization before a change and after it, and the ids of the deployments that differ."""

    before: Loaded
    after: Loaded
    altered: Collection[int]


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[T]):
    """A change that was made and rolled back: its result, for which organizations it requests a
    cycle, and their deployments after it, unless these would have taken long to read.
    """

    result: T
    organizations: Sequence[int]
    after: Mapping[int, Loaded] = field(default_factory=dict)
    dependents: tuple[Dependent, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)


def try_out(change: Callable[[], T], user: Person) -> tuple[T, Trial]:
    """Make a change and roll it back; return its result and what the next cycle would do.

    Without a working copy of the organization's deployments, the change is made once more after all
    of them have been read, because its locks must not be held for that long. Raises what the change
    raises.
    """
    now = timezone.now()
    attempt = _attempt(change, user, now, at_any_cost=False)
    if attempt.organizations and not attempt.after:
        load_many(attempt.organizations, now=now)
        attempt = _attempt(change, user, now, at_any_cost=True)
    if not attempt.after:
        return attempt.result, Trial()
    before = load_many(attempt.organizations, now=now)
    tried = [_applied(before[pk], after) for pk, after in attempt.after.items()]
    return attempt.result, _trial(tried, attempt, user, now)


def _attempt(
    change: Callable[[], T], user: Person, now: datetime, *, at_any_cost: bool
) -> _Attempt[T]:
    with _rolled_back() as requests:
        result = change()
        organizations = sorted(subject for task, subject in requests if task == RUN_CYCLE)
        if not organizations or not (at_any_cost or working_copy.has(organizations)):
            return _Attempt(result, organizations)
        after = load_many(organizations, now=now)
        changed = [pk for loaded in after.values() for pk in loaded.own]
        return _Attempt(result, organizations, after, _dependents(changed), _names(changed, user))


@contextmanager
def _rolled_back() -> Iterator[set[Wakeup]]:
    """Run the block in a transaction that is rolled back; yield what the block requests."""
    with transaction.atomic(), withheld() as requests:
        wait_at_most(_LOCK_MS)
        yield requests
        transaction.set_rollback(True)


def _applied(before: Loaded, tried: Loaded) -> _Tried:
    altered = {
        pk
        for pk in tried.own
        if _as_planned(before.known.get(pk)) != _as_planned(tried.known.get(pk))
    }
    return _Tried(before, before.with_change(tried), altered)


def _as_planned(known: Known | None) -> Known | None:
    """Return what decides about the deployment itself: another limit of its array concerns all."""
    return known and replace(known, revision=0, limit=None)


def _trial(tried: Sequence[_Tried], attempt: _Attempt[Any], user: Person, now: datetime) -> Trial:
    plans = [(each, next_plan(each.before), next_plan(each.after)) for each in tried]
    found = [
        (row, each)
        for each, without, with_ in plans
        for row in consequences(
            each.before.snapshot, without, each.after.snapshot, with_, altered=each.altered
        )
    ]
    found.sort(key=lambda one: (KINDS.index(one[0].kind), -one[0].priority, one[0].deployment))
    listed = found[:_MOST]
    names = {**_names([row.deployment for row, _ in listed], user), **attempt.names}
    places = {each.before.organization: _places(each) for each in tried}
    return Trial(
        effects=tuple(
            _effect(row, each, names, places[each.before.organization]) for row, each in listed
        ),
        count=len(found),
        dependents=attempt.dependents,
        anyway=sum(len(p.placements) + len(p.evictions) + len(p.moves) for _, p, _ in plans),
        begins_by=now + timedelta(seconds=seconds_between_cycles()),
    )


def _effect(
    row: Consequence, tried: _Tried, names: Mapping[int, str], places: Mapping[Place, str]
) -> Effect:
    loses = row.kind in _LOSING and row.source is not None
    return Effect(
        row,
        tried.before.organization,
        names.get(row.deployment),
        _name(places, row.source, row.source_node),
        _name(places, row.target, row.target_node),
        _lost(tried.before, row.deployment) if loses else None,
    )


def _lost(loaded: Loaded, deployment: int) -> int:
    return lost_seconds(loaded.known[deployment].deployment, loaded.snapshot.now)


def _places(tried: _Tried) -> dict[Place, str]:
    """Return the names of the nodes as they would be, and of those that would be deleted."""
    return _labels(tried.before.snapshot) | _labels(tried.after.snapshot)


def _labels(snapshot: Snapshot) -> dict[Place, str]:
    return {bin_.place: bin_.label for cluster in snapshot.clusters for bin_ in cluster.bins}


def _name(places: Mapping[Place, str], cluster: int | None, node: int | None) -> str:
    return "" if cluster is None or node is None else places.get((cluster, node), "")


def _names(deployments: Collection[int], user: Person) -> dict[int, str]:
    rows = Deployment.objects.visible_to(user).filter(pk__in=deployments)
    return dict(rows.order_by().values_list("pk", "name"))


def _dependents(changed: Collection[int]) -> tuple[Dependent, ...]:
    ended = Deployment.objects.filter(pk__in=changed, status__in=_ENDED)
    return dependents_of(list(ended.order_by().values_list("pk", flat=True)))
