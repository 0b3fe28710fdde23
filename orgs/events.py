"""Write the history, always in the transaction of the change that it records."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection, models
from django.utils import timezone

from orgs.models import Event

_TYPES = {
    "organization_id": "bigint", "subject": "text", "subject_id": "bigint", "time": "timestamptz",
    "kind": "text", "actor": "text", "reason": "text", "status": "text", "data": "jsonb",
}  # fmt: skip
"""The types of the columns of an event, without its id."""


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


def record_many(events: Sequence[Event]) -> None:
    """Record many events in one statement, without their ids.

    The columns are passed as arrays: Django would adapt each value of each row by itself, which
    takes longer than all else that a plan with many changes writes.
    """
    if not events:
        return
    columns = [[getattr(event, name) for event in events] for name in _TYPES]
    columns[-1] = [json.dumps(event.data) for event in events]
    arrays = ", ".join(f"%s::{kind}[]" for kind in _TYPES.values())
    sql = f"INSERT INTO orgs_event ({', '.join(_TYPES)}) SELECT * FROM unnest({arrays})"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, columns)
