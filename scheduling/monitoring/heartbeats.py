"""Record that one of the product's processes works, and read when it last did."""

from collections.abc import Collection
from datetime import datetime, timedelta

from celery import current_app

from scheduling.models import Pulse
from scheduling.monitoring import clocks

BEAT = "beat"
PLANNING = "planning"
"""The workers of the default queue."""

BACKGROUND = "background"
"""The queue, and the workers, of long cycles and of everything that no user waits for."""

DISCARDING = "discards"
"""Workers that discarded a message because it had expired by their own clock."""

EVERY_S = 5
"""Seconds between two heartbeats of the same process."""

LATE = timedelta(seconds=6 * EVERY_S)
"""A process without a heartbeat for longer counts as dead, unless it answers a ping."""


def record(name: str, now: datetime | None = None) -> None:
    reading = clocks.read()
    ahead_s = reading.ahead.total_seconds()
    Pulse.objects.bulk_create(
        [Pulse(name=name, time=now or reading.database, ahead_s=ahead_s)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["time", "ahead_s"],
    )


def record_worker(queue: str, hostname: str, now: datetime | None = None) -> None:
    """Record that the worker of this name handled a message of that queue."""
    record(f"{queue} {hostname}"[:200], now)


def wrong_clocks(now: datetime) -> dict[str, float]:
    """Return by name how many seconds the wrong clocks of the last hour's processes are ahead."""
    # A worker's latest heartbeat counts: a worker whose clock is ahead may record only discards.
    rows = Pulse.objects.filter(time__gt=now - timedelta(hours=1)).order_by("time")
    found = {name.partition(" ")[2] or name: s for name, s in rows.values_list("name", "ahead_s")}
    limit = clocks.TOLERATED.total_seconds()
    return {name: ahead_s for name, ahead_s in found.items() if abs(ahead_s) > limit}


def forget_before(limit: datetime) -> None:
    Pulse.objects.filter(time__lt=limit).delete()


def last_seen(now: datetime) -> tuple[datetime | None, dict[str, dict[str, datetime]]]:
    """Return beat's last heartbeat, and by queue and name those of the last hour's workers."""
    rows = dict(Pulse.objects.values_list("name", "time"))
    beat = rows.pop(BEAT, None)
    workers: dict[str, dict[str, datetime]] = {}
    for name, time in rows.items():
        queue, _, hostname = name.partition(" ")
        if time > now - timedelta(hours=1):
            workers.setdefault(queue, {})[hostname] = time
    return beat, workers


def is_working(queue: str) -> bool:
    """Return whether a worker of the queue has a recent heartbeat, or answers a ping."""
    now = clocks.read().database
    seen = last_seen(now)[1].get(queue, {})
    return any(now - time <= LATE for time in seen.values()) or answers(seen)


def answers(seen: Collection[str]) -> bool:
    """Return whether one of the workers of these names answers a ping within 0.2 s."""
    return bool(seen and current_app.control.ping(list(seen), timeout=0.2, limit=1))
