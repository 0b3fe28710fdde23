"""The figures that summarize a replay."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from scheduling.planner.resources import DIMENSIONS, NOTHING
from scheduling.planner.shares import Shares
from scheduling.simulation.engine import Life, Replay

_N = TypeVar("_N", int, float)

_SHORTEST_S = 10  # shorter jobs count as this long, so that they do not dominate the slowdown


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """The jobs of one priority. A wait is the sum of a job's waits, in seconds."""

    priority: int
    jobs: int
    finished: int
    wait_mean: float
    wait_median: int
    wait_p95: int
    slowdown: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a replay.

    `utilisation` is the mean allocated share of each resource. `goodput` is the share of the work
    that was not lost, where work is run time times dominant share; `lost_hours` is the lost work in
    hours of the whole capacity. `out_of_order` is as in `Replay`. `idle_by_reservations` is the
    mean share of the capacity, 0 to 1, that reservations keep idle. `slowdown` is the mean bounded
    slowdown of all jobs. `fairness` is Jain's index over the tenants' mean slowdowns, 1 when they
    are equal. `wait_mean` and `longest_wait` are of all
    jobs, `biggest_mean` and `biggest_wait` of the 1% with the largest shares, in seconds.
    """

    levels: tuple[LevelSummary, ...]
    utilisation: dict[str, float]
    goodput: float
    evictions: int
    out_of_order: int
    idle_by_reservations: float
    slowdown: float
    lost_hours: float
    fairness: float
    queue_mean: float
    wait_mean: float
    longest_wait: int
    biggest_mean: float
    biggest_wait: int


def summarize(replay: Replay) -> Summary:
    shares = Shares(list(replay.clusters))
    capacity = sum((c.capacity for c in replay.clusters), NOTHING)
    lost = sum(life.lost * shares.of(life.job.request) for life in replay.lives)
    done = sum(life.worked * shares.of(life.job.request) for life in replay.lives)
    queue, idle, utilisation = _over_time(replay)
    waits = [life.waited for life in replay.lives]
    biggest = _waits_of_the_biggest(replay.lives, shares)
    return Summary(
        levels=tuple(_levels(replay.lives)),
        utilisation=utilisation,
        goodput=1 - lost / done if done else 1.0,
        evictions=sum(len(life.evictions) for life in replay.lives),
        out_of_order=replay.out_of_order,
        idle_by_reservations=idle,
        slowdown=_mean([_slowdown(life) for life in replay.lives]),
        lost_hours=lost / shares.of(capacity) / 3600,
        fairness=_jain(_slowdown_by_tenant(replay.lives)),
        queue_mean=queue,
        wait_mean=_mean(waits),
        longest_wait=max(waits, default=0),
        biggest_mean=_mean(biggest),
        biggest_wait=max(biggest, default=0),
    )


def _waits_of_the_biggest(lives: Sequence[Life], shares: Shares) -> list[int]:
    """Return the waits of the 1% with the largest shares, which are most likely to starve."""
    by_size = sorted(lives, key=lambda life: -shares.of(life.job.request))
    return [life.waited for life in by_size[: -(-len(by_size) // 100)]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _levels(lives: Sequence[Life]) -> Iterable[LevelSummary]:
    for priority in sorted({life.job.priority for life in lives}, reverse=True):
        members = [life for life in lives if life.job.priority == priority]
        waits = sorted(life.waited for life in members)
        yield LevelSummary(
            priority=priority,
            jobs=len(members),
            finished=sum(life.finished is not None for life in members),
            wait_mean=sum(waits) / len(waits),
            wait_median=quantile(waits, 50),
            wait_p95=quantile(waits, 95),
            slowdown=sum(map(_slowdown, members)) / len(members),
        )


def quantile(ordered: Sequence[_N], percent: int) -> _N:
    """Return the nearest-rank percentile."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _slowdown(life: Life) -> float:
    """Return the bounded slowdown: the time until the end divided by the duration, at least 1."""
    if life.finished is None:
        return 1.0
    took = life.finished - life.job.submit
    return max(1.0, took / max(life.job.duration, _SHORTEST_S))


def _slowdown_by_tenant(lives: Sequence[Life]) -> list[float]:
    by_tenant: dict[str, list[float]] = defaultdict(list)
    for life in lives:
        by_tenant[life.job.tenant].append(_slowdown(life))
    return [sum(values) / len(values) for values in by_tenant.values()]


def _jain(values: Sequence[float]) -> float:
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _over_time(replay: Replay) -> tuple[float, float, dict[str, float]]:
    """Return the mean length of the queue, the mean share that reservations keep idle, and the
    mean utilisation, weighted by time.
    """
    queue, idle, allocated = 0, 0.0, dict.fromkeys(DIMENSIONS, 0)
    for sample, following in zip(replay.samples, replay.samples[1:], strict=False):
        seconds = following.time - sample.time
        queue += sample.queue * seconds
        idle += sample.idle * seconds
        for name in DIMENSIONS:
            allocated[name] += getattr(sample.allocated, name) * seconds
    span = replay.samples[-1].time - replay.samples[0].time if replay.samples else 0
    capacity = sum((c.capacity for c in replay.clusters), NOTHING)
    whole = {name: getattr(capacity, name) * span for name in DIMENSIONS}
    return (
        queue / span if span else 0.0,
        idle / span if span else 0.0,
        {name: allocated[name] / whole[name] if whole[name] else 0.0 for name in DIMENSIONS},
    )
