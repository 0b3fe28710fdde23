"""Note that a process of the product is at work, and read when it last was."""

from datetime import datetime, timedelta

from django.utils import timezone

from scheduling.models import Pulse

BEAT = "beat"
PLANNING = "planning"
"""The workers that take everything but what has a queue of its own."""

EVERY_S = 5
"""Seconds between two notes of the same process."""


def note(name: str, now: datetime | None = None) -> None:
    Pulse.objects.bulk_create(
        [Pulse(name=name, time=now or timezone.now())],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["time"],
    )


def note_worker(queue: str, hostname: str, now: datetime | None = None) -> None:
    """Note that the worker of this name did what a message in that queue asked for."""
    note(f"{queue} {hostname}"[:200], now)


def forget_before(limit: datetime) -> None:
    Pulse.objects.filter(time__lt=limit).delete()


def last_seen(now: datetime) -> tuple[datetime | None, dict[str, dict[str, datetime]]]:
    """Return when beat was last seen, and by queue each worker of the last hour, by its name."""
    rows = dict(Pulse.objects.values_list("name", "time"))
    beat = rows.pop(BEAT, None)
    workers: dict[str, dict[str, datetime]] = {}
    for name, time in rows.items():
        queue, _, hostname = name.partition(" ")
        if time > now - timedelta(hours=1):
            workers.setdefault(queue, {})[hostname] = time
    return beat, workers
