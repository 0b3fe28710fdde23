"""Seeded snapshots to plan: cut from a workload trace, or synthetic with many tight fits."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from scheduling.planner.policy import Policy
from scheduling.planner.requirements import requirements
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot

# No deployment is starved, so that the reference may choose freely within a level.
POLICY = Policy(starvation_seconds=10**9)

_NODES = [
    (32_000, 262_144, 0, "none"), (96_000, 786_432, 8, "a100"), (64_000, 262_144, 2, "t4"),
    (128_000, 1_048_576, 8, "h100"), (48_000, 393_216, 4, "a100"),
]  # fmt: skip
_REQUESTS = [
    (4_000, 16_384, 0), (16_000, 65_536, 0), (8_000, 65_536, 1), (12_000, 98_304, 1),
    (16_000, 131_072, 2), (40_000, 262_144, 4), (88_000, 700_000, 8), (6_000, 180_000, 1),
]  # fmt: skip
_FREQUENCIES = [12, 6, 30, 12, 15, 10, 5, 10]
_REQUIRE: list[dict[str, Any]] = [
    {"gpu.model": ["a100", "h100"]}, {"gpu.model": {"not": ["t4"]}}, {"zone": ["a"]},
]  # fmt: skip
_LIMITS = [900, 3_600, 4 * 3_600, 24 * 3_600, 7 * 24 * 3_600, 30 * 24 * 3_600]
_EPOCH = 900 << 12  # Turns of every length begin at multiples of it.

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


def on_nodes(count: int, seed: int) -> Iterator[Snapshot]:
    """Yield snapshots on one to four clusters of 1 to 64 nodes of different sizes, with labels.

    Half of them have about 200 deployments on 16 nodes. Some deployments require a label. Active
    deployments are where an arrival at a time on a random node has left them, so that free capacity
    is scattered.
    """
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    for number in range(count):
        sizes = [16] if number % 2 else [random.choice([1, 2, 4, 8, 16, 64])]
        sizes += [] if number % 2 else random.choices([1, 2, 4, 8], k=random.randint(0, 3))
        clusters = tuple(_rack(random, c, size) for c, size in enumerate(sizes, start=1))
        deployments = 200 if number % 2 else random.randint(30, 200)
        yield _on(random, clusters, deployments)


def _rack(random: Random, number: int, size: int) -> Cluster:
    """Return a cluster of up to three kinds of nodes."""
    kinds = random.sample(_NODES, random.randint(1, 3))
    nodes = tuple(
        Node(
            n, Resources(cpu, ram, gpu), f"n{n}", {"gpu.model": model, "zone": random.choice("ab")}
        )
        for n, (cpu, ram, gpu, model) in enumerate(random.choices(kinds, k=size), start=1)
    )
    return Cluster(
        number, sum((n.capacity for n in nodes), NOTHING), name=f"c{number}", nodes=nodes
    )


def _on(random: Random, clusters: tuple[Cluster, ...], number: int) -> Snapshot:
    left = {bin_.place: bin_.capacity for cluster in clusters for bin_ in cluster.bins}
    bins = {bin_.place: bin_ for cluster in clusters for bin_ in cluster.bins}
    levels, now = random.randint(3, 7), 1_000_000
    rows = []
    for id_ in range(1, number + 1):
        request = Resources(*random.choices(_REQUESTS, _FREQUENCIES)[0])
        d = Deployment(
            id_, random.randrange(levels), request, now - random.randint(1, 800),
            requested_cluster=random.choice(clusters).id if random.random() < 0.05 else None,
            require=requirements(random.choice(_REQUIRE)) if random.random() < 0.2 else (),
        )  # fmt: skip
        fitting = [p for p, free in left.items() if request.fits_in(free) and d.admits(bins[p])]
        if fitting and random.random() < 0.6:
            cluster, node = random.choice(fitting)
            left[cluster, node] -= request
            d = replace(d, cluster=cluster, node=node, placed_at=now - random.randint(900, 90_000))
        rows.append(d)
    return Snapshot(now, POLICY, clusters, tuple(rows))


def with_default_settings(snapshots: Iterable[Snapshot], seed: int) -> Iterator[Snapshot]:
    """Yield the snapshots with the default policy, at random moments in the cycle of the turns.

    In a third of them no deployment states `max_runtime_s`, in a third about a half do, and in a
    third all do. Deployments of a synthetic snapshot, which have no ages, get ages between a minute
    and two days.
    """
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    for snapshot in snapshots:
        now = _EPOCH + random.randrange(_EPOCH)
        stating = random.choice([0.0, 0.5, 1.0])
        is_synthetic = len({d.queued_at for d in snapshot.deployments}) == 1
        rows = []
        for d in snapshot.deployments:
            age = snapshot.now - d.queued_at
            if is_synthetic:
                age = int(60 * 2_880 ** random.random())
            placed_at, ran = (None, 0) if d.cluster is None else (now - age, age)
            row = replace(d, queued_at=now - age, placed_at=placed_at)
            if random.random() < stating:
                row = replace(row, max_runtime_s=random.choice([n for n in _LIMITS if n > ran]))
            rows.append(row)
        yield Snapshot(now, Policy(), snapshot.clusters, tuple(rows))


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
