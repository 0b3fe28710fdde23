"""Workloads that are read from a file or generated from a seed."""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

from hypervisor.base.numbers import read_whole
from scheduling.planner.resources import Resources

COLUMNS = ("submit_s", "duration_s", "cpu_milli", "memory_mib", "gpu", "priority", "tenant")
_SHAPES = (
    (Resources(1_000, 2_048, 0), 30),
    (Resources(4_000, 16_384, 1), 30),
    (Resources(8_000, 32_768, 1), 15),
    (Resources(8_000, 65_536, 2), 10),
    (Resources(16_000, 131_072, 4), 5),
    (Resources(32_000, 262_144, 8), 2),
)
_LEVELS = ((0, 45), (1, 15), (2, 35), (3, 5))


@dataclass(frozen=True, slots=True)
class Job:
    """One submission. Times are in seconds; `duration` is the run time that it needs in total."""

    id: int
    submit: int
    duration: int
    request: Resources
    priority: int
    tenant: str


def read_trace(lines: Iterable[str]) -> list[Job]:
    """Read CSV with the columns `COLUMNS`. Raises ValueError, which names the line."""
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"line 1: the column {missing[0]} is missing")
    jobs = [_job(number, row) for number, row in enumerate(reader, start=1)]
    return sorted(jobs, key=lambda job: (job.submit, job.id))


def _job(number: int, row: dict[str, str]) -> Job:
    try:
        amounts = {name: read_whole(row[name]) for name in COLUMNS if name != "tenant"}
    except (TypeError, ValueError) as error:
        raise ValueError(f"line {number + 1}: {error}") from error
    if min(value for name, value in amounts.items() if name != "priority") < 0:
        raise ValueError(f"line {number + 1}: an amount is negative")
    return Job(
        id=number,
        submit=amounts["submit_s"],
        duration=max(amounts["duration_s"], 1),
        request=Resources(amounts["cpu_milli"], amounts["memory_mib"], amounts["gpu"]),
        priority=amounts["priority"],
        tenant=row["tenant"],
    )


def generate(
    count: int, *, seed: int, every_s: float, mean_s: float = 1800.0, spread: float = 1.5
) -> Iterator[Job]:
    """Yield jobs with exponential gaps and log-normal durations, of these means in seconds.

    `spread` is the standard deviation of the durations' logarithms: the tail is heavier, the larger
    it is.
    """
    random = Random(seed)  # noqa: S311 - a reproducible workload, not a secret
    shapes, shape_weights = zip(*_SHAPES, strict=True)
    levels, level_weights = zip(*_LEVELS, strict=True)
    clock = 0.0
    for number in range(1, count + 1):
        clock += random.expovariate(1 / every_s)
        yield Job(
            id=number,
            submit=int(clock),
            duration=1 + int(random.lognormvariate(math.log(mean_s) - spread**2 / 2, spread)),
            request=random.choices(shapes, shape_weights)[0],
            priority=random.choices(levels, level_weights)[0],
            tenant=f"team-{random.randrange(6)}",
        )
