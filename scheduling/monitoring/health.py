"""Whether the product's processes and servers work, read from a few rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from clusters.wakeups import ENGINES, broker_state
from scheduling.models import Sample, SchedulingCycle
from scheduling.monitoring import clocks, heartbeats

_SAMPLE_LATE = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class Part:
    """One process or server: `ok`, `down`, `warning`, or `unknown` because another part is down."""

    name: str
    state: str
    note: str

    @property
    def is_bad(self) -> bool:
        return self.state in ("down", "warning")


_WORKERS = {
    "Worker": heartbeats.PLANNING,
    "Background worker": heartbeats.BACKGROUND,
    "Engine worker": ENGINES,
}

_BROKER = {
    "ok": Part("Broker", "ok", "answers"),
    "refuses writes": Part("Broker", "down", "refuses writes: its memory or its disk is full"),
    "unreachable": Part("Broker", "down", "does not answer"),
}


@dataclass(frozen=True, slots=True)
class Health:
    """`worker` runs the short cycles, `background` the long ones; `engines` calls the engines."""

    beat: Part
    worker: Part
    background: Part
    engines: Part
    broker: Part
    database: Part
    samples: Part
    last_cycle: SchedulingCycle | None

    @property
    def all(self) -> tuple[Part, ...]:
        workers = self.worker, self.background, self.engines
        return self.beat, *workers, self.broker, self.database, self.samples


def read(now: datetime, last: Sample | None) -> Health:
    """Return the health at `now` by this process's clock; heartbeats are by the database's."""
    seen_at = now - clocks.read().ahead
    beat_seen, workers = heartbeats.last_seen(seen_at)
    broker = broker_state()
    broker_works = broker == "ok"
    beat = _beat(seen_at, beat_seen)
    newest = SchedulingCycle.objects.select_related("organization").defer("record")
    planning, background, engines = (
        _worker(name, seen_at, workers.get(queue, {}), beat, broker_works=broker_works)
        for name, queue in _WORKERS.items()
    )
    return Health(
        beat=beat,
        worker=planning,
        background=background,
        engines=engines,
        broker=_BROKER[broker],
        database=Part("Database", "ok", "answers"),
        samples=_samples(now, last),
        last_cycle=newest.order_by("-started_at").first(),
    )


def _beat(now: datetime, seen: datetime | None) -> Part:
    if seen is None:
        return Part("Beat", "down", "never seen")
    if now - seen > heartbeats.LATE:
        return Part("Beat", "down", f"last seen at {seen:%Y-%m-%d %H:%M:%S} UTC")
    return Part("Beat", "ok", f"seen {_seconds(now, seen)} s ago")


def _worker(
    name: str, now: datetime, seen: dict[str, datetime], beat: Part, *, broker_works: bool
) -> Part:
    """Judge by the answers to beat's periodic message, or if there are none, ping the workers."""
    alive = [time for time in seen.values() if now - time <= heartbeats.LATE]
    if alive:
        many = f"{len(alive)} of them, last seen" if len(alive) > 1 else "seen"
        return Part(name, "ok", f"{many} {_seconds(now, max(alive))} s ago")
    if not broker_works:
        return Part(name, "unknown", "cannot be reached without the broker")
    if heartbeats.answers(seen):
        if beat.is_bad:
            return Part(name, "ok", "answers, but beat sends it nothing")
        return Part(name, "warning", f"answers, but busy since {max(seen.values()):%H:%M:%S} UTC")
    last = max(seen.values(), default=None)
    return Part(name, "down", f"last seen at {last:%H:%M:%S} UTC" if last else "not seen lately")


def _samples(now: datetime, last: Sample | None) -> Part:
    if last is None:
        return Part("Samples", "warning", "none yet: one is taken every minute")
    if now - last.time > _SAMPLE_LATE:
        return Part("Samples", "warning", f"the latest is from {last.time:%Y-%m-%d %H:%M} UTC")
    return Part("Samples", "ok", f"the latest is from {last.time:%H:%M} UTC")


def _seconds(now: datetime, time: datetime) -> int:
    return max(int((now - time).total_seconds()), 0)


def cycles_are_late_after() -> timedelta:
    """Return the time without a cycle after which the periodic cycles must have failed."""
    return timedelta(seconds=3 * settings.SCHEDULER_INTERVAL + 30)


def cycle_is_late(now: datetime, cycle: SchedulingCycle | None) -> bool:
    return cycle is None or now - cycle.started_at > cycles_are_late_after()
