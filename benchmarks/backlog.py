"""The latency of a preempting submission, of `explain` and of a dry run while many wait.

The bench starts a separate service with one organization whose clusters are full. It measures with
an empty queue, then for each number of waiting deployments, all of which request something
different at a lower priority. The preemptor's request equals that of a victim, which returns when
the preemptor is stopped.
"""

import random
import secrets
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.client import Client
from benchmarks.neighbours import different, p95, submit_many, wait_until_decided
from benchmarks.service import Service, wait_until

_PATIENCE_S = 120.0
_ON_EACH = 8
_CAPACITY = {"cpu": 64, "ram_mib": 262_144, "gpu": 8}
_SLICE = {"image": "bench/none:1", "cpu": 8, "ram_mib": 32_768, "gpu": 1}
_WHOLE = {"image": "bench/none:1", **_CAPACITY}
_SETTINGS = {
    "MAX_PENDING_PER_USER": "0",
    "MAX_PENDING_PER_ORGANIZATION": "0",
    # A victim returns at once, however often it was evicted, so that all tries are alike.
    "SCHEDULER_BACKOFF_SECONDS": "0",
    "SCHEDULER_PREEMPTION_BUDGET": "1000",
}
_REST_S = 0.5
"""Between two tries, so that the reasons that follow a cycle are written by the next one."""


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds while `waiting` deployments wait: from a POST until placed, and of each call."""

    waiting: int
    placed: list[float]
    explained: list[float]
    tried: list[float]

    def beside(self, empty: "Row") -> str:
        """Return the medians, and how many times those of an empty queue they are."""
        parts = [
            f"{name} {median(own):.0f} ms ({median(own) / median(reference):.1f})"
            for name, own, reference in (
                ("placed", self.placed, empty.placed),
                ("explain", self.explained, empty.explained),
                ("dry run", self.tried, empty.tried),
            )
        ]
        return (
            f"{self.waiting:>7,} waiting   {'   '.join(parts)}   placed:"
            f" 95th percentile {p95(self.placed):.0f} ms, worst {max(self.placed):.0f} ms"
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--waiting", type=int, nargs="+", default=[1_000, 5_000, 20_000],
        help="numbers of waiting deployments, in ascending order; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--clusters", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    sizes = {name: options[name] for name in ("waiting", "clusters", "tries", "seed")}
    clusters = options["clusters"]
    out(
        f"{clusters} clusters full of {clusters * _ON_EACH} deployments; medians, and how many"
        " times those of an empty queue they are"
    )
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home", **_SETTINGS)
        service.start()
        try:
            empty = None
            for row in measure(service.url, **sizes):
                empty = empty or row
                out(row.beside(empty))
        finally:
            service.stop()


def measure(url: str, *, waiting: list[int], clusters: int, tries: int, seed: int) -> Iterator[Row]:
    """Yield a row for an empty queue, then one for each number of waiting deployments."""
    choose = random.Random(seed)  # noqa: S311 - reproducible, not secret
    with Client.newcomer(url, f"backlog-{secrets.token_hex(4)}", _PATIENCE_S) as client:
        client.post("/organizations", name="Bench backlog")
        _fill(client, clusters)
        there = 0
        for number in (0, *waiting):
            _add(client, number - there, choose)
            there = number
            yield _measured(client, there, tries)


def _fill(client: Client, clusters: int) -> None:
    for number in range(clusters):
        client.post("/clusters", name=f"rack-{number}", **_CAPACITY)
    each = {"name": "full", "priority": 50, **_SLICE}
    client.post("/deployments/bulk", deployments=[each] * clusters * _ON_EACH)
    wait_until(
        lambda: len(client.list("/deployments?status=running")) == clusters * _ON_EACH,
        "the clusters are full",
    )


def _add(client: Client, number: int, choose: random.Random) -> None:
    """Let this many more wait, and wait until each of them has a reason."""
    submit_many(client, number, lambda: different(choose, least_gpu=1, highest_priority=40))
    wait_until_decided(client)


def _measured(client: Client, waiting: int, tries: int) -> Row:
    probe = {"name": "probe", "priority": 90, **_SLICE}
    _preempting(client, probe)
    placed = []
    for _ in range(tries):
        placed.append(_preempting(client, probe))
        time.sleep(_REST_S)
    waits = client.post("/deployments", name="looked-at", priority=1, **_WHOLE)["id"]
    explained = [_ms(lambda: client.get(f"/deployments/{waits}/explain")) for _ in range(tries)]
    tried = [_ms(lambda: client.post("/deployments?dry_run=true", **probe)) for _ in range(tries)]
    client.post(f"/deployments/{waits}/cancel")
    return Row(waiting, placed, explained, tried)


def _preempting(client: Client, probe: Mapping[str, Any]) -> float:
    """Submit a preemptor, and stop it; return the milliseconds until it was placed."""
    began = time.perf_counter()
    deployment = client.post("/deployments", **probe)["id"]

    def status() -> str:
        return str(client.get(f"/deployments/{deployment}")["status"])

    while status() == "pending":
        if time.perf_counter() - began > _PATIENCE_S:
            raise TimeoutError(f"Deployment {deployment} was not placed.")
    placed = 1000 * (time.perf_counter() - began)
    wait_until(lambda: status() == "running", "the preemptor runs")
    client.post(f"/deployments/{deployment}/stop")
    wait_until(lambda: status() == "stopped", "the preemptor has stopped")
    return placed


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)
