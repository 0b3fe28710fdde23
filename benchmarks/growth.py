"""How the planner's time and memory grow with pending and active deployments, clusters and nodes.

One of them is varied at a time, with the others fixed. The slope of a straight line through the
logarithms of the sizes and the times is the exponent: 1 means that twice as many take twice as
long.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from math import log
from multiprocessing import get_context
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

from benchmarks.cases import POLICY
from scheduling.planner.pipeline import make_plan
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot
from scheduling.simulation.table import aligned

_MACHINE = Resources(96_000, 786_432, 8)
_NOW = 1_000_000
_ABOVE = 10  # the priority of all active deployments where the others can only wait


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a snapshot.

    `shapes` is the number of different requests, 0 if all are different. Clusters are exactly as
    large as their active deployments. These have the same four levels as the pending ones; with
    `waits` they have a higher one, so that every pending deployment waits. With `nodes`, the
    snapshot is one cluster with this many nodes: see `large_cluster`.
    """

    pending: int = 0
    active: int = 0
    clusters: int = 1
    shapes: int = 0
    waits: bool = False
    nodes: int = 0

    def snapshot(self, seed: int) -> Snapshot:
        if self.nodes:
            return large_cluster(self.nodes, self.shapes, seed)
        return full_clusters(self, seed)


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU seconds of a plan with the codes of its wait reasons, and those of all their
    sentences; the peak of the memory of the process, in MiB.
    """

    plan: float
    sentences: float
    peak_mib: float


SERIES: Mapping[str, Sequence[Size]] = {
    "pending": [Size(n, 5_000, 100) for n in (12_500, 25_000, 50_000, 100_000, 200_000)],
    "pending, all of which wait": [
        Size(n, 5_000, 100, waits=True) for n in (12_500, 25_000, 50_000, 100_000, 200_000)
    ],
    "active": [Size(10_000, n, 100) for n in (6_250, 12_500, 25_000, 50_000)],
    "active on one cluster": [Size(4_000, n, 1) for n in (5_000, 10_000, 20_000, 40_000)],
    "clusters": [Size(10_000, 50_000, n) for n in (125, 250, 500, 1_000)],
    "nodes": [Size(nodes=n) for n in (400, 800, 1_600)],
}
"""What each series varies, and its sizes. Each is measured with all requests different, and with a
few shapes."""


def measure(size: Size, seed: int, repeat: int = 1) -> Cost:
    """Return the least cost of several plans. The peak is that of this process until now."""
    snapshot = size.snapshot(seed)
    costs = [_seconds(snapshot) for _ in range(repeat)]
    return Cost(*min(costs), _peak_mib())


def _seconds(snapshot: Snapshot) -> tuple[float, float]:
    """Return the times of one plan, which is dropped before the next one is made."""
    started = process_time()
    plan = make_plan(snapshot)
    for wait in plan.wait_reasons:
        wait.code  # noqa: B018 - may be computed when it is read
    planned = process_time()
    for wait in plan.wait_reasons:
        wait.reason  # noqa: B018 - the same
    return planned - started, process_time() - planned


def _peak_mib() -> float:
    """Return the peak of this process; unlike `getrusage`, without that of the one it came from."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the exponent of the power of the size that fits the times best."""
    xs, ys = [log(size) for size in sizes], [log(max(second, 1e-6)) for second in seconds]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum(
        (a - x) ** 2 for a in xs
    )


def full_clusters(size: Size, seed: int) -> Snapshot:
    """Return full clusters with active deployments, and pending ones."""
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    kinds = [_request(random) for _ in range(size.shapes)]
    capacities = [NOTHING] * size.clusters
    rows = []
    for number in range(size.active + size.pending):
        request = random.choice(kinds) if kinds else _request(random)
        row = Deployment(number + 1, random.randrange(4), request, _NOW - random.randint(1, 800))
        if number < size.active:
            home = number % size.clusters
            capacities[home] += request
            placed_at = _NOW - random.randint(1_000, 5_000)
            priority = _ABOVE if size.waits else row.priority
            row = replace(row, cluster=home + 1, placed_at=placed_at, priority=priority)
        rows.append(row)
    clusters = tuple(Cluster(c, capacity) for c, capacity in enumerate(capacities, start=1))
    return Snapshot(_NOW, POLICY, clusters, tuple(rows))


def large_cluster(nodes: int, shapes: int, seed: int) -> Snapshot:
    """Return a cluster of GPU nodes of two models, with 10 deployments a node.

    A third of them is active, as far as they fit. Without `shapes`, each request is different.
    """
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    machines = tuple(
        Node(n, _MACHINE, f"n{n}", {"gpu.model": random.choice(["a100", "h100"])})
        for n in range(1, nodes + 1)
    )
    kinds = [_request(random) for _ in range(shapes)]
    left = {node.id: node.capacity for node in machines}
    rows = []
    for number in range(1, 10 * nodes + 1):
        request = random.choice(kinds) if kinds else _request(random)
        home = random.randint(1, nodes)
        row = Deployment(number, random.randint(1, 5), request, 1_000_000 - random.randrange(800))
        if number % 3 == 0 and request.fits_in(left[home]):
            left[home] -= request
            row = replace(row, cluster=1, node=home, placed_at=900_000 + random.randrange(90_000))
        rows.append(row)
    capacity = sum((node.capacity for node in machines), NOTHING)
    return Snapshot(1_000_000, POLICY, (Cluster(1, capacity, nodes=machines),), tuple(rows))


def _request(random: Random) -> Resources:
    return Resources(
        random.randrange(500, 16_000),
        random.randrange(512, 65_536),
        random.choice([0, 0, 1, 1, 2, 4, 8]),
    )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--shapes", type=int, default=20, help="number of different requests (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="plans of each size; the best counts")
    parser.add_argument(
        "--divide", type=int, default=1, help="make all deployments and clusters so much fewer"
    )
    parser.add_argument("--series", action="append", choices=SERIES, help="only this (repeatable)")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    for name in options["series"] or SERIES:
        for shapes in (0, options["shapes"]):
            sizes = [_smaller(size, options["divide"], shapes) for size in SERIES[name]]
            costs = [_alone(size, options["seed"], options["repeat"]) for size in sizes]
            out(f"{name}, {f'{shapes} shapes' if shapes else 'all requests different'}:")
            for line in _table(name, sizes, costs):
                out(line)
            out("")


def _alone(size: Size, seed: int, repeat: int) -> Cost:
    """Measure in a new process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, size, seed, repeat).result()


def _smaller(size: Size, divisor: int, shapes: int) -> Size:
    return Size(
        size.pending // divisor, size.active // divisor, -(-size.clusters // divisor), shapes,
        size.waits, -(-size.nodes // divisor),
    )  # fmt: skip


def _table(name: str, sizes: Sequence[Size], costs: Sequence[Cost]) -> Iterator[str]:
    """Yield the lines of a table, and the exponents."""
    head = ["pending", "active", "clusters", "plan, CPU s", "sentences, CPU s", "peak MiB"]
    rows = [
        [f"{size.pending:,}", f"{size.active:,}", f"{size.clusters:,}", f"{cost.plan:.3f}",
         f"{cost.sentences:.3f}", f"{cost.peak_mib:.0f}"]
        for size, cost in zip(sizes, costs, strict=True)
    ]  # fmt: skip
    if name == "nodes":
        head = ["nodes", *head[3:]]
        rows = [[f"{size.nodes:,}", *row[3:]] for size, row in zip(sizes, rows, strict=True)]
    yield from aligned([head, *rows])
    varied = [getattr(size, name.split(",")[0].split(" ")[0]) for size in sizes]
    plans, sentences = [cost.plan for cost in costs], [cost.sentences for cost in costs]
    yield (
        f"exponent: plan {exponent(varied, plans):.2f}, sentences {exponent(varied, sentences):.2f}"
    )
