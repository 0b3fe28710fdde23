"""What the events of the feed say about deployments, in the words of a notice."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deployments.models import Deployment
from deployments.notices.kinds import Kind
from deployments.runtime.models import Run
from hypervisor.base.durations import in_words
from orgs.models import Event

_KINDS = {
    "evicted": Kind.PREEMPTED,
    "moved": Kind.PREEMPTED,
    "failed": Kind.FAILED,
    "running": Kind.STARTED_LATE,
    "completed": Kind.COMPLETED,
}
EVENTS = frozenset(_KINDS)
"""The kinds of events that notices report."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened to a deployment, or that is the case.

    `key` names it. `waited_s` is how long the deployment had waited when it started.
    `limit_minutes` is how long it has been waiting by now, if it still does.
    `headline` is a whole sentence without its full stop.
    """

    organization: int
    owner: int | None
    deployment: int
    name: str
    array: tuple[int, str] | None
    labels: Mapping[str, str] = field(repr=False)
    kind: Kind
    key: str
    headline: str
    detail: str
    time: datetime
    waited_s: float | None = None
    limit_minutes: int | None = None

    @property
    def group(self) -> str:
        """What it is about: the deployment, or the array that the deployment is an element of."""
        return f"array-{self.array[0]}" if self.array else f"deployment-{self.deployment}"


def of_events(events: Sequence[Event]) -> Iterator[Fact]:
    """Yield the facts in the events, in their order; none about deleted deployments."""
    rows = _rows(event.subject_id for event in events)
    others = _rows(event.data.get("for") or 0 for event in events)
    waits = _waits([e for e in events if _KINDS[e.kind] is Kind.STARTED_LATE], rows)
    for event in events:
        row, kind = rows.get(event.subject_id), _KINDS[event.kind]
        if row is None or (event.kind == "moved" and not event.data.get("for")):
            continue
        waited_s = waits.get(event.pk)
        if kind is Kind.STARTED_LATE and waited_s is None:
            continue
        yield about(
            row,
            kind,
            key=f"event-{event.organization_id}-{event.numbering.number}",
            headline=_headline(row, event, others.get(event.data.get("for") or 0), waited_s),
            detail=event.reason,
            time=event.time,
            waited_s=waited_s,
        )


def about(row: Deployment, kind: Kind, **given: Any) -> Fact:
    """Return a fact about this deployment."""
    return Fact(
        organization=row.organization_id,
        owner=row.created_by_id,
        deployment=row.pk,
        name=row.name,
        array=(row.array_id, row.array.name) if row.array and row.array_id else None,
        labels=row.labels,
        kind=kind,
        **given,
    )


def rows_of_notices() -> Any:
    """Return the deployments with what facts need of them."""
    return Deployment.objects.select_related("array").only(
        "name", "organization_id", "created_by_id", "array__name", "labels", "priority",
        "queued_at", "status", "status_reason", "status_code",
    )  # fmt: skip


def _rows(ids: "Iterator[int]") -> dict[int, Deployment]:
    return {row.pk: row for row in rows_of_notices().filter(pk__in={*ids})}


def _headline(
    row: Deployment, event: Event, other: Deployment | None, waited_s: float | None
) -> str:
    if event.kind == "failed":
        return f"{row.name} failed"
    if event.kind == "completed":
        return f"{row.name} completed"
    if waited_s is not None:
        return f"{row.name} started after waiting for {in_words(waited_s)}"
    what = "was moved to other nodes" if event.kind == "moved" else "was preempted"
    if other is not None:
        return f"{row.name} {what} for {other.name} (priority {other.priority})"
    if event.data.get("for"):
        return f"{row.name} {what} for a deployment that was deleted since"
    return f"{row.name} {what} by {event.actor}"


def _waits(events: Sequence[Event], rows: Mapping[int, Deployment]) -> dict[int, float]:
    """Return how many seconds deployments had waited when they started, by the events' ids."""
    found = {}
    ended = _ended({event.subject_id for event in events})
    for event in events:
        row = rows.get(event.subject_id)
        if row is None or row.queued_at > event.time:
            continue  # it was queued again since, which its next start reports
        began = [time for time in ended.get(row.pk, ()) if time <= event.time]
        found[event.pk] = (event.time - max([row.queued_at, *began])).total_seconds()
    return found


def _ended(deployments: Collection[int]) -> dict[int, list[datetime]]:
    """Return when the former runs of these deployments ended, since when they waited again."""
    found: dict[int, list[datetime]] = {}
    runs = Run.objects.filter(deployment__in=deployments)
    for pk, time in runs.order_by().values_list("deployment", "released_at"):
        if time is not None:
            found.setdefault(pk, []).append(time)
    return found
