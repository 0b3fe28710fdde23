"""What more workers bring: organizations submit at the same time, with 1, 2 and 4 workers.

For each number of workers the bench starts a separate service. Every deployment fits, so that the
time until the last is placed depends on the processes alone. The CPU time of each kind of process
says which of them to add first.
"""

import secrets
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.client import Client
from benchmarks.service import Service, wait_until

_WITHIN_S = 300
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """`placed` a second, and by kind of process the CPU milliseconds for each deployment."""

    workers: int
    placed: float
    cpu_ms: Mapping[str, float]

    def __str__(self) -> str:
        cpu = ", ".join(f"{kind} {ms:.1f}" for kind, ms in sorted(self.cpu_ms.items()))
        return f"worker={self.workers}: {self.placed:.0f} placed a second; CPU ms for each: {cpu}"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--organizations", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--deployments", type=int, default=50, help="of each; default: %(default)s")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], metavar="N")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    first = None
    for workers in options["workers"]:
        report = measure(workers, options["organizations"], options["deployments"])
        first = first or report
        out(f"{report}; {report.placed / first.placed:.2f} times worker={first.workers}")


def measure(workers: int, organizations: int, deployments: int) -> Report:
    """Start a service, and measure it from the first submission until all are placed."""
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder, ExitStack() as opened:
        service = Service(Path(folder) / "home").scale([("worker", workers)])
        service.start()
        opened.callback(service.stop)
        clients = [opened.enter_context(_organization(service)) for _ in range(organizations)]
        before, began = service.cpu_s(), time.monotonic()
        _submit(clients, deployments)
        seconds = time.monotonic() - began
        after = service.cpu_s()
        spent = {kind: after[kind] - s for kind, s in before.items()}
    count = organizations * deployments
    return Report(workers, count / seconds, {k: 1000 * s / count for k, s in spent.items()})


def _organization(service: Service) -> Client:
    """Return a user whose organization has a cluster on which all its deployments fit."""
    client = Client.newcomer(service.url, f"bench-{secrets.token_hex(4)}", _PATIENCE_S)
    client.post("/organizations", name="Bench scaling")
    client.post("/clusters", name="large", cpu=10_000, ram_mib=10_000_000, gpu=0)
    return client


def _submit(clients: Sequence[Client], deployments: int) -> None:
    """Submit one by one, each organization at the same time, and wait until all are placed."""

    def submit(client: Client) -> None:
        for number in range(deployments):
            spec = {"image": "bench/none:1", "cpu": 1, "ram_mib": 1024}
            client.post("/deployments", name=f"bench-{number}", **spec)
        wait_until(
            lambda: not client.get("/deployments?status=pending&limit=1")["results"],
            "all are placed",
            _WITHIN_S,
        )

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(submit, clients))
