"""Write the history, always in the transaction of the change that it records."""

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
    """Record many events in one statement."""
    Event.objects.bulk_create(events)
