"""How the planner's time grows with the number of pending deployments, and with that of nodes."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from time import process_time
from typing import Any

from benchmarks.cases import POLICY
from scheduling.planner.pipeline import make_plan
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot

_CLUSTERS = 100
_CAPACITY = Resources(64_000, 262_144, 8)
_MACHINE = Resources(96_000, 786_432, 8)
_FILLER = Resources(32_000, 131_072, 4)


def seconds(snapshot: Snapshot) -> float:
    """Return the CPU seconds of one plan."""
    started = process_time()
    make_plan(snapshot)
    return process_time() - started


def crowd(pending: int, shapes: int, seed: int) -> Snapshot:
    """Return 100 nearly full clusters, and deployments of four levels, most of which wait."""
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    clusters = tuple(Cluster(c, _CAPACITY) for c in range(1, _CLUSTERS + 1))
    kinds = [
        Resources(
            random.randrange(500, 16_000), random.randrange(512, 65_536), random.randint(0, 2)
        )
        for _ in range(shapes)
    ]
    return Snapshot(
        now=1_000_000,
        policy=POLICY,
        clusters=clusters,
        deployments=(*_active(), *_pending(random, pending, kinds)),
    )


def large_cluster(nodes: int, shapes: int, seed: int) -> Snapshot:
    """Return a cluster of GPU nodes of two models, with 10 deployments a node.

    A third of them is active, as far as they fit. Without `shapes`, each request is different.
    """
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    machines = tuple(
        Node(n, _MACHINE, f"n{n}", {"gpu.model": random.choice(["a100", "h100"])})
        for n in range(1, nodes + 1)
    )
    kinds = [_gpu_request(random) for _ in range(shapes)]
    left = {node.id: node.capacity for node in machines}
    rows = []
    for number in range(1, 10 * nodes + 1):
        request = random.choice(kinds) if kinds else _gpu_request(random)
        home = random.randint(1, nodes)
        row = Deployment(number, random.randint(1, 5), request, 1_000_000 - random.randrange(800))
        if number % 3 == 0 and request.fits_in(left[home]):
            left[home] -= request
            row = replace(row, cluster=1, node=home, placed_at=900_000 + random.randrange(90_000))
        rows.append(row)
    capacity = sum((node.capacity for node in machines), NOTHING)
    return Snapshot(1_000_000, POLICY, (Cluster(1, capacity, nodes=machines),), tuple(rows))


def _gpu_request(random: Random) -> Resources:
    return Resources(
        random.randrange(500, 16_000),
        random.randrange(512, 65_536),
        random.choice([0, 0, 1, 1, 2, 4, 8]),
    )


def _active() -> Iterator[Deployment]:
    for c in range(1, _CLUSTERS + 1):
        for n in (0, 1):
            yield Deployment(2 * c + n, 5 if n else 0, _FILLER, 0, cluster=c, placed_at=900_000 + c)


def _pending(random: Random, number: int, kinds: list[Resources]) -> Iterator[Deployment]:
    for n in range(number):
        yield Deployment(
            10_000 + n, random.randint(1, 4), random.choice(kinds), random.randrange(1_000_000)
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--shapes", type=int, default=20, help="number of different requests")
    parser.add_argument("--seed", type=int, default=1)


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    shapes, seed = options["shapes"], options["seed"]
    out("  pending  CPU seconds")
    for pending in (1_000, 3_000, 10_000, 30_000, 100_000):
        out(f"{pending:9,}  {seconds(crowd(pending, shapes, seed)):.3f}")
    out("    nodes  CPU seconds, with as many requests as deployments")
    for nodes in (100, 300, 1_000, 1_500):
        few, many = (seconds(large_cluster(nodes, number, seed)) for number in (shapes, 0))
        out(f"{nodes:9,}  {few:.3f}        {many:.3f}")
