"""Seeded snapshots to plan: cut from a workload trace, or synthetic with many tight fits."""

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random

from scheduling.planner.policy import Policy
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot

# No deployment is starved, so that the reference may choose freely within a level.
POLICY = Policy(starvation_seconds=10**9)

_SHAPES = [(1000, 2048, 0), (2000, 8192, 0), (4000, 16384, 1), (8000, 32768, 1), (16000, 65536, 2)]


def from_trace(path: Path, count: int, seed: int) -> Iterator[Snapshot]:
    """Yield snapshots of 10 to 200 pending deployments on 1 to 8 clusters at moments of a trace.

    The trace is a CSV with the columns submit_s, cpu_milli, memory_mib and gpu, sorted by submit_s.
    The moments and the priorities, of which there are three to seven, are drawn at random.
    """
    with path.open(newline="") as file:
        rows = [_row(row) for row in csv.DictReader(file)]
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    for _ in range(count):
        pending = random.randint(*random.choice([(10, 60), (20, 200)]))
        running = random.randint(5, pending)
        start = random.randrange(len(rows) - pending - running)
        yield _cut(random, rows[start : start + pending + running], running)


def synthetic(count: int, seed: int) -> Iterator[Snapshot]:
    """Yield snapshots with a few common and odd requests on clusters that they fill."""
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    for _ in range(count):
        shapes = [Resources(*random.choice(_SHAPES)) for _ in range(random.randint(2, 4))]
        shapes += [
            Resources(
                random.randrange(500, 16000), random.randrange(512, 65536), random.randint(0, 4)
            )
            for _ in range(random.randint(1, 5))
        ]
        running = random.randint(5, 60)
        pending = random.randint(10, 80)
        yield _cut(random, [(0, random.choice(shapes)) for _ in range(running + pending)], running)


def _row(row: dict[str, str]) -> tuple[int, Resources]:
    request = Resources(int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]))
    return int(row["submit_s"]), request


def _cut(random: Random, rows: list[tuple[int, Resources]], running: int) -> Snapshot:
    levels = random.randint(3, 7)
    now = max(submitted for submitted, _ in rows) + 1
    clusters = _clusters(random, sum((request for _, request in rows), NOTHING))
    left = {cluster.id: cluster.capacity for cluster in clusters}
    deployments = []
    for number, (submitted, request) in enumerate(rows, start=1):
        home = None
        if number <= running:
            fitting = [c for c, free in left.items() if request.fits_in(free)]
            home = random.choice(fitting) if fitting else None
        if home is not None:
            left[home] -= request
        pinned = random.randrange(12) == 0
        deployments.append(
            Deployment(
                id=number,
                priority=random.randrange(levels),
                request=request,
                queued_at=submitted,
                requested_cluster=(home or random.choice(clusters).id) if pinned else None,
                cluster=home,
                placed_at=None if home is None else submitted,
            )
        )
    return Snapshot(now, POLICY, clusters, tuple(deployments))


def _clusters(random: Random, demand: Resources) -> tuple[Cluster, ...]:
    """Return clusters with capacity for a part of the demand, which differs by dimension."""
    number = random.choice([1, 1, 2, 2, 3, 4, 6, 8])
    part = random.randint(15, 85)
    parts = [part + random.randint(-10, 25) for _ in range(3)]
    weights = [random.randint(1, 4) for _ in range(number)]
    total = sum(weights)
    return tuple(
        Cluster(
            id=c,
            capacity=Resources(
                demand.cpu_milli * parts[0] * weight // total // 100_000 * 1000,
                demand.ram_mib * parts[1] * weight // total // 102_400 * 1024,
                -(-demand.gpu * parts[2] * weight // total // 100),
            ),
        )
        for c, weight in enumerate(weights, start=1)
    )
