"""Write the history; always in the transaction of what it tells of."""

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.utils import timezone

from orgs.models import Event


def record(
    row: models.Model,
    kind: str,
    actor: str,
    reason: str = "",
    data: dict[str, Any] | None = None,
    *,
    status: str | None = None,
) -> Event:
    """Note that something happened to an organization, a cluster or a deployment just now.

    `status` is the row's from now on, when the event is a transition.
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
    """Note many events at once."""
    Event.objects.bulk_create(events)
