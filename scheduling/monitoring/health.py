"""Whether the product's own processes and servers work: what a look at a few rows tells."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.conf import settings

from clusters.wakeups import ENGINES, broker_state
from scheduling.models import Sample, SchedulingCycle
from scheduling.monitoring import clocks, heartbeats

_LATE = timedelta(seconds=6 * heartbeats.EVERY_S)
"""A process that was not seen for longer is taken for dead."""

_SAMPLE_LATE = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Vital:
    """One part: `ok`, `down`, `warning`, or `unknown` as another one had to tell."""

    name: str
    state: str
    note: str

    @property
    def is_bad(self) -> bool:
        return self.state in ("down", "warning")


_BROKER = {
    "ok": Vital("Broker", "ok", "answers"),
    "refuses writes": Vital("Broker", "down", "refuses writes: its memory or its disk is full"),
    "unreachable": Vital("Broker", "down", "does not answer"),
}


@dataclass(frozen=True, slots=True)
class Vitals:
    """`worker` plans; `engines` are the workers that speak to the clusters' engines."""

    beat: Vital
    worker: Vital
    engines: Vital
    broker: Vital
    database: Vital
    samples: Vital
    last_cycle: SchedulingCycle | None

    @property
    def all(self) -> tuple[Vital, ...]:
        return self.beat, self.worker, self.engines, self.broker, self.database, self.samples


def look(now: datetime, last: Sample | None) -> Vitals:
    """Look at a moment of this process's clock; what the database's clock noted is seen by that."""
    seen_at = now - clocks.read().ahead
    beat_seen, workers = heartbeats.last_seen(seen_at)
    broker = broker_state()
    broker_works = broker == "ok"
    beat = _beat(seen_at, beat_seen)
    newest = SchedulingCycle.objects.select_related("organization").defer("record")
    planning, engines = (
        _worker(name, seen_at, workers.get(queue, {}), beat, broker_works=broker_works)
        for name, queue in (("Worker", heartbeats.PLANNING), ("Engine worker", ENGINES))
    )
    return Vitals(
        beat=beat,
        worker=planning,
        engines=engines,
        broker=_BROKER[broker],
        database=Vital("Database", "ok", "answers"),
        samples=_samples(now, last),
        last_cycle=newest.order_by("-started_at").first(),
    )


def _beat(now: datetime, seen: datetime | None) -> Vital:
    if seen is None:
        return Vital("Beat", "down", "was never seen")
    if now - seen > _LATE:
        return Vital("Beat", "down", f"last seen at {seen:%Y-%m-%d %H:%M:%S} UTC")
    return Vital("Beat", "ok", f"seen {_seconds(now, seen)} s ago")


def _worker(
    name: str, now: datetime, seen: dict[str, datetime], beat: Vital, *, broker_works: bool
) -> Vital:
    """Say what came of beat's periodic request; where nothing did, ask the workers themselves."""
    alive = [time for time in seen.values() if now - time <= _LATE]
    if alive:
        many = f"{len(alive)} of them, the last" if len(alive) > 1 else "at work"
        return Vital(name, "ok", f"{many} {_seconds(now, max(alive))} s ago")
    if not broker_works:
        return Vital(name, "unknown", "cannot be asked without the broker")
    if seen and current_app.control.ping(list(seen), timeout=0.2, limit=1):
        if beat.is_bad:
            return Vital(name, "ok", "answers, but beat asks it nothing")
        return Vital(name, "warning", f"answers, but is busy since {max(seen.values()):%H:%M:%S}")
    last = max(seen.values(), default=None)
    return Vital(
        name, "down", f"last seen at {last:%H:%M:%S} UTC" if last else "was not seen lately"
    )


def _samples(now: datetime, last: Sample | None) -> Vital:
    if last is None:
        return Vital("Samples", "warning", "none yet: one is taken every minute")
    if now - last.time > _SAMPLE_LATE:
        return Vital("Samples", "warning", f"the last is of {last.time:%Y-%m-%d %H:%M} UTC")
    return Vital("Samples", "ok", f"the last is of {last.time:%H:%M}")


def _seconds(now: datetime, time: datetime) -> int:
    return max(int((now - time).total_seconds()), 0)


def cycles_are_late_after() -> timedelta:
    """Return after how long without a cycle periodic ones must have failed."""
    return timedelta(seconds=3 * settings.SCHEDULER_INTERVAL + 30)


def cycle_is_late(now: datetime, cycle: SchedulingCycle | None) -> bool:
    return cycle is None or now - cycle.started_at > cycles_are_late_after()
