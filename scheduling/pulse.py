"""Note that a process of the product is at work, and read when it last was."""

from datetime import datetime, timedelta

from django.utils import timezone

from scheduling.models import Pulse

BEAT = "beat"
EVERY_S = 5
"""Seconds between two notes of the same process."""


def note(name: str, now: datetime | None = None) -> None:
    Pulse.objects.bulk_create(
        [Pulse(name=name, time=now or timezone.now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["time"],
    )


def forget_before(limit: datetime) -> None:
    Pulse.objects.filter(time__lt=limit).delete()


def last_seen() -> tuple[datetime | None, dict[str, datetime]]:
    """Return when beat, and when each worker of the last hour, was last seen."""
    rows = dict(Pulse.objects.values_list("name", "time"))
    beat = rows.pop(BEAT, None)
    recently = timezone.now() - timedelta(hours=1)
    return beat, {name: time for name, time in rows.items() if time > recently}
