"""What this process knows of each organization's deployments, brought up to date by what changed.

Reading a row of the database and turning it into the planner's form costs far more than planning
it, so a process does it once for each change of a deployment. The first reading of an organization,
and a reading whenever there is doubt, takes all of its rows; both give the same result.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from json import loads
from time import monotonic
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import BigIntegerField, Func, TextField
from django.db.models.functions import Cast

from deployments import changes
from deployments import models as demand
from deployments.changes import Moment
from deployments.wait_codes import ARRAY_LIMIT
from hypervisor.base.arrays import Among
from hypervisor.base.statements import ANY_IDS, Statement
from scheduling.cycle.kept import Kept
from scheduling.cycle.past import NO_PAST, PastOf
from scheduling.planner.requirements import Preference, Requirement, preferences, requirements
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Deployment


class _Microseconds(Func):
    """A time as the microseconds since the epoch."""

    template = "(extract(epoch FROM %(expressions)s) * 1000000)::bigint"
    output_field = BigIntegerField()


# A time and JSON would take more time to convert than all other columns of a row together.
_COLUMNS = (
    "organization", "pk", "revision", "priority", "cpu_milli", "ram_mib", "gpu",
    _Microseconds("queued_at"), "requested_cluster", "cluster", "node",
    Cast("require", TextField()), Cast("prefer", TextField()), "placed_at", "max_runtime_s",
    "preemptible", "checkpoint_at", "ready_after", "suspended_until", "status_code",
    "ephemeral_storage_mib", "status_reason", "array", "array__at_once", "created_by",
)  # fmt: skip

_EPOCH = datetime.fromtimestamp(0, UTC)

UNLIMITED = {"ephemeral-storage": "unlimited"}
_LIMITED = {"ephemeral-storage": {"not": ["unlimited"]}}
"""The planner knows only labels, so a node whose engine cannot limit storage has one, which
deployments with a limit avoid."""

MOST_DEPLOYMENTS = 500_000
"""How many deployments a process keeps in all, about 1 KiB each."""


class Limit(NamedTuple):
    """Of this array, at most `at_once` elements may be active."""

    array: int
    at_once: int


@dataclass(frozen=True, slots=True)
class Known:
    """An active or competing deployment at a revision of its row; it is ready at `ready_after`.

    `code` and `reason` are what its row says about its state. `limit` is None unless it is an
    element of an array with a limit. `created_by` is the user who submitted it, None if that user
    was deleted.
    """

    deployment: Deployment
    revision: int
    ready_after: datetime | None
    past: PastOf
    code: str
    reason: str
    limit: Limit | None = None
    created_by: int | None = None

    @property
    def concerns_limits(self) -> bool:
        """Whether its array has a limit, or had one in the last cycle."""
        return self.limit is not None or self.code == ARRAY_LIMIT

    def is_ready(self, now: datetime) -> bool:
        """Return whether it is pending, and its back-off is over."""
        return self.deployment.cluster is None and (
            self.ready_after is None or self.ready_after <= now
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of an organization's deployments, by id; `read` are those whose rows were read
    for it, because they changed or because there was no copy.

    While nothing changes, `known` is the same object. `own` are the ids of those that the
    transaction has changed itself, and may roll back, and of those that wait for them. `changed`
    are the ids of all that may differ from `former`, what was known before, if there was a copy.
    `limited` are the ids of those that concern the limits of arrays.
    """

    known: Mapping[int, Known]
    read: Collection[int]
    own: Collection[int]
    former: Mapping[int, Known] | None
    changed: Collection[int]
    limited: Collection[int]


@dataclass(frozen=True, slots=True)
class _Copy:
    """The deployments of an organization as of a moment; all rows were read at `read_at`.

    `with_past` are the ids of those that have a past, `limited` those that concern the limits of
    arrays.
    """

    moment: Moment
    read_at: float
    known: dict[int, Known]
    with_past: frozenset[int]
    limited: frozenset[int]


_copies: Kept[_Copy] = Kept(MOST_DEPLOYMENTS, lambda copy: len(copy.known))


def forget_all() -> None:
    """Read every organization's rows again when it is next needed."""
    _copies.clear()


def forget(organization_id: int) -> None:
    """Read the organization's rows again when they are next needed."""
    _copies.drop(organization_id)


def age_s(organization_id: int) -> float | None:
    """Return how many seconds ago all rows of the organization were read, None without a copy."""
    copy = _copies.get(organization_id)
    return None if copy is None else monotonic() - copy.read_at


def size(organization_id: int) -> int:
    """Return how many deployments this process has a copy of, 0 if it is too old."""
    copy = _copies_of([organization_id])[organization_id]
    return 0 if copy is None else len(copy.known)


def has(organization_ids: Iterable[int]) -> bool:
    """Return whether this process has a copy of each organization, so that reading costs little."""
    return all(_copies_of(organization_ids).values())


def read(organization_ids: Sequence[int], past: Mapping[int, PastOf]) -> dict[int, Reading]:
    """Return the active and competing deployments of each organization, by id.

    The number of statements depends on neither the number of organizations nor of deployments.
    """
    former = _copies_of(organization_ids)
    seen = changes.since({pk: copy.moment if copy else None for pk, copy in former.items()})
    usable = {pk: copy for pk, copy in former.items() if copy and copy.moment.leads_to(seen.moment)}
    stale = {pk: seen.deployments.get(pk, set()) | _aged(copy, past) for pk, copy in usable.items()}
    cold = [pk for pk in organization_ids if pk not in usable]
    rows = _rows(cold, [id_ for ids in stale.values() for id_ in ids], past)
    copies = {
        pk: _brought_up(usable.get(pk), stale.get(pk, ()), rows.get(pk, {}), seen.moment)
        for pk in organization_ids
    }
    _copies.keep({pk: copy for pk, copy in copies.items() if pk not in seen.own})
    return {
        pk: Reading(
            copy.known,
            rows.get(pk, {}).keys(),
            seen.own.get(pk, ()),
            usable[pk].known if pk in usable else None,
            stale.get(pk, ()),
            copy.limited,
        )
        for pk, copy in copies.items()
    }


def _copies_of(organization_ids: Iterable[int]) -> dict[int, _Copy | None]:
    """Return each organization's copy unless it is too old."""
    oldest = monotonic() - settings.SCHEDULER_COPY_SECONDS
    copies = {pk: _copies.get(pk) for pk in organization_ids}
    return {pk: copy if copy and copy.read_at > oldest else None for pk, copy in copies.items()}


def _aged(copy: _Copy, past: Mapping[int, PastOf]) -> set[int]:
    """Return the deployments whose past differs: evictions leave the window as time goes on."""
    known = copy.known
    return {
        pk
        for pk in copy.with_past | (past.keys() & known.keys())
        if known[pk].past != past.get(pk, NO_PAST)
    }


def _rows(
    organizations: Collection[int], deployments: Collection[int], past: Mapping[int, PastOf]
) -> dict[int, dict[int, Known]]:
    """Read the rows of these organizations and of these deployments, by organization and id."""
    found: dict[int, dict[int, Known]] = {}
    for column, ids in (("organization", organizations), ("pk", deployments)):
        for row in _statement(column).rows(ids) if ids else ():
            found.setdefault(row[0], {})[row[1]] = _known(row, past.get(row[1], NO_PAST))
    return found


@cache
def _statement(column: str) -> Statement:
    """Return the statement for the rows whose column has one of some ids, by id in order."""
    rows = demand.Deployment.objects.active_or_competing().filter(Among(column, ANY_IDS))
    return Statement.of(rows.order_by("pk").values_list(*_COLUMNS))


def _brought_up(
    former: _Copy | None, stale: Collection[int], rows: Mapping[int, Known], moment: Moment
) -> _Copy:
    """Return the former copy with its stale deployments replaced by the rows, sorted by id."""
    if former is None:
        return _Copy(moment, monotonic(), dict(rows), _with_past(rows), _limited(rows))
    if not stale:
        return replace(former, moment=moment)
    known = {**former.known, **rows}  # new ones are at the end, the rows by id
    for pk in stale:
        if pk not in rows:
            known.pop(pk, None)
    last = next(reversed(former.known), 0)
    if any(pk < last and pk not in former.known for pk in rows):
        known = dict(sorted(known.items()))
    gone = frozenset(stale)
    with_past = (former.with_past - gone) | _with_past(rows)
    limited = (former.limited - gone) | _limited(rows)
    return _Copy(moment, former.read_at, known, with_past, limited)


def _with_past(rows: Mapping[int, Known]) -> frozenset[int]:
    return frozenset(pk for pk, known in rows.items() if known.past is not NO_PAST)


def _limited(rows: Mapping[int, Known]) -> frozenset[int]:
    return frozenset(pk for pk, known in rows.items() if known.concerns_limits)


def _known(row: tuple[Any, ...], past: PastOf) -> Known:
    (
        _organization, pk, revision, priority, cpu_milli, ram_mib, gpu, queued_us,
        requested_cluster, cluster, node, require, prefer, placed_at, max_runtime_s,
        preemptible, checkpoint_at, ready_after, suspended_until, status_code,
        ephemeral_storage_mib, status_reason, array, at_once, created_by,
    ) = row  # fmt: skip
    waits = cluster is None
    ready_since: int | None = None
    past_victims: tuple[int, ...] = ()
    if waits and not (ready_after is None and past is NO_PAST):
        queued_at = _EPOCH + timedelta(microseconds=queued_us)
        ready_since = _ready_since(queued_at, ready_after, past.evicted_at)
        past_victims = past.victims_since(queued_at)
    deployment = Deployment(
        id=pk,
        priority=priority,
        request=Resources(cpu_milli, ram_mib, gpu),
        queued_at=queued_us // 10**6,
        requested_cluster=requested_cluster,
        cluster=cluster,
        placed_at=seconds(placed_at) if placed_at else None,
        max_runtime_s=max_runtime_s,
        preemptible=preemptible,
        recent_preemptions=past.evictions,
        checkpoint_at=seconds(checkpoint_at) if checkpoint_at else None,
        ready_since=ready_since,
        suspended_until=seconds(suspended_until) if suspended_until else None,
        past_victims=past_victims,
        preempted_in_vain=waits and past.ended_in_vain,
        node=node,
        require=_require(require, ephemeral_storage_mib is not None),
        prefer=_prefer(prefer),
        reserved=waits and status_code == "reserved",
    )
    back_off = ready_after if waits else None
    limit = None if at_once is None else Limit(array, at_once)
    return Known(
        deployment, revision, back_off, past, status_code, status_reason, limit, created_by
    )


@lru_cache
def _require(document: str, is_limited: bool) -> tuple[Requirement, ...]:
    return requirements(loads(document) | (_LIMITED if is_limited else {}))


@lru_cache
def _prefer(document: str) -> tuple[Preference, ...]:
    return preferences(loads(document))


def _ready_since(
    queued_at: datetime, ready_after: datetime | None, evicted_at: datetime | None
) -> int | None:
    """Return when an eviction or a back-off last restarted the wait; None if none has."""
    since = max(queued_at, ready_after or queued_at, evicted_at or queued_at)
    return None if since == queued_at else seconds(since)


def seconds(time: datetime) -> int:
    return int(time.timestamp())
