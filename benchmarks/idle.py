"""What a service costs while nothing happens: the CPU of each of its processes.

The bench starts a separate service with one organization whose clusters of the simulated engine are
full of running deployments, and measures it without a call.
"""

import secrets
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.client import Client
from benchmarks.service import Service, wait_until

_PATIENCE_S = 120.0
_ON_EACH = 8
_MOST_AT_ONCE = 1000
_SETTLED_S = 15.0
"""After the last deployment runs, until the reconciles and cycles that follow it are over."""

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """CPU seconds a minute by kind of process, with this many clusters."""

    clusters: int
    cpu_s: Mapping[str, float]

    def __str__(self) -> str:
        each = ", ".join(f"{kind} {seconds:.2f}" for kind, seconds in sorted(self.cpu_s.items()))
        total = sum(self.cpu_s.values())
        return (
            f"{self.clusters} clusters, {self.clusters * _ON_EACH} running deployments: CPU seconds"
            f" a minute: {each}; together {total:.2f}, {total / _MINUTE_S:.1%} of a core"
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--clusters", type=int, nargs="+", default=[0, 10, 100, 300],
        help="in ascending order; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=60.0, help="of each; default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home")
        service.start()
        try:
            for row in measure(service, options["clusters"], options["seconds"]):
                out(str(row))
        finally:
            service.stop()


def measure(service: Service, clusters: Sequence[int], seconds: float) -> Iterator[Row]:
    """Yield a row for each number of clusters, each measured for so many seconds."""
    with Client.newcomer(service.url, f"idle-{secrets.token_hex(4)}", _PATIENCE_S) as client:
        client.post("/organizations", name="Bench idle")
        there = 0
        for number in clusters:
            _add(client, there, number)
            there = number
            time.sleep(_SETTLED_S)
            before, began = service.cpu_s(), time.monotonic()
            time.sleep(seconds)
            minutes = (time.monotonic() - began) / _MINUTE_S
            after = service.cpu_s()
            yield Row(number, {kind: (after[kind] - s) / minutes for kind, s in before.items()})


def _add(client: Client, there: int, wanted: int) -> None:
    """Add clusters until there are as many as wanted, and fill them."""
    for number in range(there, wanted):
        client.post("/clusters", name=f"rack-{number}", cpu=_ON_EACH, ram_mib="8Gi", gpu=_ON_EACH)
    each = {"name": "full", "image": "bench/none:1", "cpu": 1, "ram_mib": "1Gi", "gpu": 1}
    missing = (wanted - there) * _ON_EACH
    for start in range(0, missing, _MOST_AT_ONCE):
        batch = [each] * min(_MOST_AT_ONCE, missing - start)
        client.post("/deployments/bulk", deployments=batch)
    wait_until(lambda: _all_run(client), "all deployments run", _PATIENCE_S)


def _all_run(client: Client) -> bool:
    waiting = (f"/deployments?status={status}&limit=1" for status in ("pending", "starting"))
    return not any(client.get(path)["results"] for path in waiting)
