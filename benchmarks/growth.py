"""How the planner's time grows with the number of pending deployments on full clusters."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from random import Random
from time import process_time
from typing import Any

from benchmarks.cases import POLICY
from scheduling.planner.pipeline import make_plan
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot

_CLUSTERS = 100
_CAPACITY = Resources(64_000, 262_144, 8)
_FILLER = Resources(32_000, 131_072, 4)


def seconds(pending: int, shapes: int, seed: int) -> float:
    """Return the CPU seconds of one plan for pending deployments of this many shapes."""
    snapshot = crowd(pending, shapes, seed)
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
    out("  pending  CPU seconds")
    for pending in (1_000, 3_000, 10_000, 30_000, 100_000):
        out(f"{pending:9,}  {seconds(pending, options['shapes'], options['seed']):.3f}")
