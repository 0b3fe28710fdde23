"""Write the history; always in the transaction of what it tells of."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from orgs.models import Event


def record(
    *,
    organization_id: int,
    subject: Event.Subject,
    subject_id: int,
    kind: str,
    actor: str,
    reason: str = "",
    status: str | None = None,
    data: dict[str, Any] | None = None,
    time: datetime | None = None,
) -> Event:
    """Note one event; `time` is now unless given."""
    return Event.objects.create(
        organization_id=organization_id,
        subject=subject,
        subject_id=subject_id,
        time=time or timezone.now(),
        kind=kind,
        actor=actor,
        reason=reason,
        status=status,
        data=data or {},
    )


def record_many(events: Sequence[Event]) -> None:
    """Note many events at once."""
    Event.objects.bulk_create(events)
