"""Workloads with a chosen load, for the benches in simulated time."""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.trace import Job, generate, read_trace

LEVELS = (3, 2, 1, 0)
STEP = 30
"""The levels have the priorities 90, 60, 30 and 0, so that thresholds in steps of priority apply as
they do to users' priorities from 1 to 100.
"""
DAY = 86_400


def add_arguments(parser: ArgumentParser, *, jobs: int, levels: str) -> None:
    parser.add_argument("--trace", type=Path, help="CSV as for `simulate`; default: generated")
    parser.add_argument("--jobs", type=int, default=jobs, help=f"number of jobs ({jobs})")
    parser.add_argument("--seed", type=int, default=1, help="seed of all that is random (1)")
    parser.add_argument("--gpus", type=int, default=24, help="GPUs of each of two clusters (24)")
    parser.add_argument(
        "--longest", type=int, default=DAY, help="longest duration of a job, in seconds (a day)"
    )
    parser.add_argument(
        "--levels",
        choices=("trace", "even", "one"),
        default=levels,
        help=f"as in the trace, four drawn evenly by the seed, or one for all ({levels})",
    )


def workload(options: Mapping[str, Any]) -> list[Job]:
    """Return the jobs of the options, with levels and durations as they state."""
    if options["trace"] is None:
        jobs = list(generate(options["jobs"], seed=options["seed"], every_s=60.0))
    else:
        with options["trace"].open(encoding="utf-8", newline="") as lines:
            jobs = read_trace(lines)[: options["jobs"]]
    shortened = [replace(job, duration=min(job.duration, options["longest"])) for job in jobs]
    return with_levels(shortened, options["levels"], options["seed"])


def with_levels(jobs: Sequence[Job], levels: str, seed: int) -> list[Job]:
    """Return the jobs with the priorities of these levels: `trace`, `even` or `one`.

    A trace whose priorities are not levels from 0 to 3 keeps its priorities with `trace`.
    """
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    step = STEP if {job.priority for job in jobs} <= set(LEVELS) else 1
    priorities = {
        "trace": (job.priority * step for job in jobs),
        "even": (random.choice(LEVELS) * STEP for _ in jobs),
        "one": (0 for _ in jobs),
    }[levels]
    return [replace(job, priority=priority) for job, priority in zip(jobs, priorities, strict=True)]


def two_clusters(gpus: int) -> tuple[Cluster, Cluster]:
    """Return two clusters with as much CPU and RAM for each GPU as the trace's nodes have."""
    capacity = Resources(gpus * 13_000, gpus * 34 * 1024, gpus)
    return Cluster(1, capacity), Cluster(2, capacity)


def at_load(jobs: Sequence[Job], clusters: Sequence[Cluster], load: float) -> list[Job]:
    """Return the jobs with their submissions moved closer together or further apart.

    The load is the work of all jobs divided by the capacity during the time of submission, in the
    scarcest resource. Jobs that fit no cluster do not count.
    """
    span = max(job.submit for job in jobs) - jobs[0].submit
    possible = [job for job in jobs if any(job.request.fits_in(c.capacity) for c in clusters)]
    present = max(_load(possible, clusters, name, span) for name in DIMENSIONS)
    stretch = present / load
    return [replace(job, submit=int(job.submit * stretch)) for job in jobs]


def _load(jobs: Sequence[Job], clusters: Sequence[Cluster], name: str, span: int) -> float:
    capacity = sum(getattr(cluster.capacity, name) for cluster in clusters) * span
    work = sum(job.duration * getattr(job.request, name) for job in jobs)
    return work / capacity if capacity else 0.0
