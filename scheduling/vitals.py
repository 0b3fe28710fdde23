"""Whether the product's own processes and servers work: what a look at a few rows tells."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.conf import settings

from clusters.wakeups import broker_answers
from scheduling import pulse
from scheduling.models import Sample, SchedulingCycle

_LATE = timedelta(seconds=6 * pulse.EVERY_S)
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


@dataclass(frozen=True, slots=True)
class Vitals:
    database: Vital
    broker: Vital
    beat: Vital
    worker: Vital
    samples: Vital
    last_cycle: SchedulingCycle | None

    @property
    def all(self) -> tuple[Vital, ...]:
        return self.beat, self.worker, self.broker, self.database, self.samples


def look(now: datetime, last: Sample | None) -> Vitals:
    beat_seen, workers = pulse.last_seen()
    broker_works = broker_answers()
    beat = _beat(now, beat_seen)
    newest = SchedulingCycle.objects.select_related("organization").defer("record")
    return Vitals(
        database=Vital("Database", "ok", "answers"),
        broker=Vital("Broker", "ok", "answers")
        if broker_works
        else Vital("Broker", "down", "does not answer: nothing is done at once"),
        beat=beat,
        worker=_worker(now, workers, beat, broker_works=broker_works),
        samples=_samples(now, last),
        last_cycle=newest.order_by("-started_at").first(),
    )


def _beat(now: datetime, seen: datetime | None) -> Vital:
    if seen is None:
        return Vital("Beat", "down", "was never seen")
    if now - seen > _LATE:
        return Vital("Beat", "down", f"last seen at {seen:%Y-%m-%d %H:%M:%S} UTC")
    return Vital("Beat", "ok", f"seen {_seconds(now, seen)} s ago")


def _worker(now: datetime, seen: dict[str, datetime], beat: Vital, *, broker_works: bool) -> Vital:
    """Say what beat's periodic request tells; without it, ask the workers themselves."""
    alive = [time for time in seen.values() if now - time <= _LATE]
    if alive:
        many = f"{len(alive)} workers, the last" if len(alive) > 1 else "did what beat asked for"
        return Vital("Worker", "ok", f"{many} {_seconds(now, max(alive))} s ago")
    if not broker_works:
        return Vital("Worker", "unknown", "nobody can ask it without the broker")
    if beat.is_bad and current_app.control.ping(timeout=0.2, limit=1):
        return Vital("Worker", "ok", "answers, but beat asks it nothing")
    last = max(seen.values(), default=None)
    return Vital(
        "Worker", "down", f"last seen at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "was never seen"
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
