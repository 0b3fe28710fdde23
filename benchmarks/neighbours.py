"""The latency of one organization while another has many deployments waiting.

The bench starts a separate service, and measures the time from a POST until its deployment is
placed: first on the idle service, then while another organization has many deployments waiting and
submits one more every second. Deployments of the large organization all differ, and its clusters
are full, so that each of its submissions needs a cycle over its whole queue.
"""

import random
import secrets
import threading
import time
from argparse import ArgumentParser
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import latency
from benchmarks.client import Client
from benchmarks.service import Service, wait_until

_BULK = 1000
_PATIENCE_S = 60.0
_DECIDED_WITHIN_S = 600.0
_CAPACITY = {"cpu": 64, "ram_mib": 262144, "gpu": 8}
_POLL_S = 0.25
_REST_S = 0.2
"""Between two tries, so that they do not follow the rhythm of the large organization."""


@dataclass(slots=True)
class Report:
    """Milliseconds from a POST until placed: of the neighbour, and of the large organization."""

    waiting: int
    clusters: int
    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The neighbour's median, relative to its median on the idle service."""
        return median(self.busy) / median(self.idle)

    def __str__(self) -> str:
        ratio = p95(self.busy) / p95(self.idle)
        return (
            f"{_row('neighbour, idle', self.idle)}\n{_row('neighbour, busy', self.busy)}\n"
            f"{_row('large organization', self.own, 'decided')}\n"
            f"{self.waiting} waiting on {self.clusters} full clusters, a submission a second: the"
            f" neighbour's median is {self.ratio:.2f} times, its 95th percentile {ratio:.2f} times"
            " that of the idle service"
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--waiting", type=int, default=20_000, help="default: %(default)s")
    parser.add_argument("--clusters", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    sizes = {name: options[name] for name in ("waiting", "clusters", "tries", "seed")}
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        # A user of the bench may have more pending deployments than a person would.
        service = Service(Path(folder) / "home", MAX_PENDING_PER_USER="0")
        service.start()
        try:
            out(str(measure(service.url, **sizes)))
        finally:
            service.stop()


def measure(url: str, *, waiting: int, clusters: int, tries: int, seed: int) -> Report:
    """Measure the neighbour on the idle service, then next to the large organization."""
    choose = random.Random(seed)  # noqa: S311 - reproducible, not secret
    report = Report(waiting, clusters)
    with _organization(url, "neighbour") as small, _organization(url, "large") as large:
        small.post("/clusters", name="one", cpu=8, ram_mib=8192, gpu=0)
        latency.fitting(small)
        report.idle = list(_tries(small, tries))
        _fill(large, waiting, clusters, choose)
        over = threading.Event()
        with ThreadPoolExecutor(1) as background:
            submitting = background.submit(_submit_on, large, choose, over, report)
            try:
                report.busy = list(_tries(small, tries))
            finally:
                over.set()
                submitting.result()
    return report


@contextmanager
def _organization(url: str, name: str) -> Iterator[Client]:
    with Client.newcomer(url, f"{name}-{secrets.token_hex(4)}", _PATIENCE_S) as client:
        client.post("/organizations", name=f"Bench {name}")
        yield client


def _tries(client: Client, tries: int) -> Iterator[float]:
    for _ in range(tries):
        yield latency.fitting(client).placed
        time.sleep(_REST_S)


def _fill(client: Client, waiting: int, clusters: int, choose: random.Random) -> None:
    """Fill the clusters with deployments of the highest priority, then let others wait."""
    for number in range(clusters):
        client.post("/clusters", name=f"rack-{number}", **_CAPACITY)
    full = {"name": "full", "image": "bench/none:1", "priority": 100, **_CAPACITY}
    client.post("/deployments/bulk", deployments=[full] * clusters)
    wait_until(
        lambda: len(client.list("/deployments?status=running")) == clusters, "the clusters are full"
    )
    submit_many(client, waiting, lambda: different(choose))
    wait_until_decided(client)


def submit_many(client: Client, number: int, make: Callable[[], dict[str, Any]]) -> None:
    """Submit this many deployments in bulks."""
    for first in range(0, number, _BULK):
        rows = [make() for _ in range(min(_BULK, number - first))]
        client.post("/deployments/bulk", deployments=rows)


def wait_until_decided(client: Client) -> None:
    """Wait until each deployment is placed or has a reason, which the background writes last."""

    def undecided() -> int:
        time.sleep(_POLL_S)  # to count them takes the database a while
        return int(client.get("/deployments?status_code=submitted&limit=1")["count"])

    wait_until(lambda: not undecided(), "a reason for each that waits", seconds=_DECIDED_WITHIN_S)


def different(
    choose: random.Random, *, least_gpu: int = 0, highest_priority: int = 99
) -> dict[str, Any]:
    """Return a deployment whose request hardly any other one has."""
    return {
        "name": "waits",
        "image": "bench/none:1",
        "cpu": choose.randint(1, 64_000) / 1000,
        "ram_mib": choose.randint(1, 262_144),
        "gpu": choose.randint(least_gpu, 8),
        "priority": choose.randint(1, highest_priority),
    }


def _submit_on(
    client: Client, choose: random.Random, over: threading.Event, report: Report
) -> None:
    """Submit a deployment every second, and record when a cycle has decided about each."""
    undecided: deque[tuple[int, float]] = deque()
    due = time.perf_counter()
    with client.sibling() as own:
        while not over.wait(_POLL_S):
            now = time.perf_counter()
            if now >= due:
                due += 1
                pk = own.post("/deployments", **different(choose))["id"]
                undecided.append((pk, now))
            if not undecided:
                continue
            pk, began = undecided[0]
            if own.get(f"/deployments/{pk}")["status_code"] != "submitted":
                report.own.append(1000 * (time.perf_counter() - began))
                undecided.popleft()


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return sorted(values)[int(0.95 * (len(values) - 1))]


def _row(name: str, values: list[float], what: str = "placed") -> str:
    if not values:
        return f"{name:<20} none {what}"
    return (
        f"{name:<20} {len(values)} tries   {what}: median {median(values):.0f} ms,"
        f" 95th percentile {p95(values):.0f} ms, worst {max(values):.0f} ms"
    )
