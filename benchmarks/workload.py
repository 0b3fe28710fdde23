"""Workloads with a chosen load, for the benches in simulated time."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from scheduling.planner.resources import DIMENSIONS, Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.trace import Job

LEVELS = (3, 2, 1, 0)
STEP = 30
"""The levels have the priorities 90, 60, 30 and 0, so that thresholds in steps of priority apply as
they do to users' priorities from 1 to 100.
"""
DAY = 86_400


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
