"""Write the history, always in the transaction of the change that it records."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection, models
from django.utils import timezone

from hypervisor.base import arrays
from orgs.models import Event

INSERT = (
    "INSERT INTO orgs_event"
    " (organization_id, subject, subject_id, time, kind, actor, reason, status, data)"
)
"""The beginning of a statement that writes events, for statements that also make the change."""

_note: ContextVar[tuple[str, str]] = ContextVar("note", default=("", ""))
"""The actor and the note of the present action; without a note, both are empty."""


@contextmanager
def noted(note: str, *, actor: str) -> Iterator[None]:
    """Add the note, unless it is empty, to the events that are recorded for the actor inside."""
    token = _note.set((actor, note))
    try:
        yield
    finally:
        _note.reset(token)


def _noted(data: Mapping[str, Any], actor: str) -> dict[str, Any]:
    noting, note = _note.get()
    return {**data, "note": note} if note and actor == noting else dict(data)


def data_column(data: Iterable[Mapping[str, Any]], actor: str) -> str:
    """Return the events' data as an array of PostgreSQL, with the note of the present action."""
    return arrays.texts(json.dumps(_noted(each, actor)) for each in data)


def record(
    row: models.Model,
    kind: str,
    actor: str,
    reason: str = "",
    data: dict[str, Any] | None = None,
    *,
    status: str | None = None,
) -> Event:
    """Record an event of an organization, a cluster or a deployment, at the present time.

    `status` is the row's new status if the event is a transition.
    """
    return Event.objects.create(
        organization_id=getattr(row, "organization_id", row.pk),
        subject=Event.Subject(str(row._meta.model_name)),
        subject_id=row.pk,
        time=timezone.now(),
        kind=kind,
        actor=actor,
        reason=reason,
        status=status,
        data=_noted(data or {}, actor),
    )


def record_many(events: Sequence[Event]) -> None:
    """Record many events in one statement, without their ids."""
    if not events:
        return
    sql = f"""
        {INSERT} SELECT * FROM unnest(
            %s::bigint[], %s::text[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[],
            %s::text[], %s::text[], %s::jsonb[]
        )
    """  # noqa: S608
    columns = [
        arrays.numbers(event.organization_id for event in events),
        arrays.texts(event.subject for event in events),
        arrays.numbers(event.subject_id for event in events),
        arrays.times(event.time for event in events),
        arrays.texts(event.kind for event in events),
        arrays.texts(event.actor for event in events),
        arrays.texts(event.reason for event in events),
        arrays.texts(event.status for event in events),
        arrays.texts(json.dumps(_noted(event.data, event.actor)) for event in events),
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
