"""Write the history, always in the transaction of the change that it records."""

import json
from collections.abc import Sequence
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
        data=data or {},
    )


def add_note(note: str, *, after: int, actor: str) -> None:
    """Add a note to the events that this transaction has recorded for the actor.

    They have ids above `after`; nobody else has read them yet.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orgs_event SET data = data || jsonb_build_object('note', %s::text)"
            " WHERE id > %s AND actor = %s",
            [note, after, actor],
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
        arrays.texts(json.dumps(event.data) for event in events),
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
