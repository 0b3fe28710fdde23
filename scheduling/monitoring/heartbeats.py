"""Note that a process of the product is at work, and read when it last was."""

from datetime import datetime, timedelta

from scheduling.models import Pulse
from scheduling.monitoring import clocks

BEAT = "beat"
PLANNING = "planning"
"""The workers that take everything but what has a queue of its own."""

DISCARDING = "discards"
"""Workers that threw a message away because it had expired, by their own clock."""

EVERY_S = 5
"""Seconds between two notes of the same process."""


def note(name: str, now: datetime | None = None) -> None:
    reading = clocks.read()
    ahead_s = reading.ahead.total_seconds()
    Pulse.objects.bulk_create(
        [Pulse(name=name, time=now or reading.database, ahead_s=ahead_s)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["time", "ahead_s"],
    )


def note_worker(queue: str, hostname: str, now: datetime | None = None) -> None:
    """Note that the worker of this name did what a message in that queue asked for."""
    note(f"{queue} {hostname}"[:200], now)


def wrong_clocks(now: datetime) -> dict[str, float]:
    """Return by how many seconds the clocks of processes of the last hour are wrong, by name."""
    # The latest note of a worker counts: one that is ahead may only note what it throws away.
    rows = Pulse.objects.filter(time__gt=now - timedelta(hours=1)).order_by("time")
    found = {name.partition(" ")[2] or name: s for name, s in rows.values_list("name", "ahead_s")}
    limit = clocks.TOLERATED.total_seconds()
    return {name: ahead_s for name, ahead_s in found.items() if abs(ahead_s) > limit}


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
