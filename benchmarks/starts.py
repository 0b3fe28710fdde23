"""How many containers of the simulated engine start a second, from the placement to `running`.

The bench starts a separate, otherwise idle service. The clusters are cordoned until all deployments
are pending, so that one cycle places them. The time is from when the database first shows a placed
deployment until it shows the last one as running.
"""

import secrets
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import psycopg
from django.core.management.base import CommandError
from dotenv import dotenv_values

from benchmarks.client import Client
from benchmarks.service import Service, cpu_seconds

_BULK = 1000
_ATTEMPTS = 20
_POLL_S = 0.05
_PATIENCE_S = 600.0
_MEASURED = ("worker", "engines", "postgres")
_CPU, _RAM_MIB = 0.5, 64

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Report:
    """Seconds from the first placement to the last running deployment, and of CPU by process."""

    count: int
    seconds: float
    cpu: Mapping[str, float]

    def __str__(self) -> str:
        cpu = ", ".join(
            f"{name} {1e6 * seconds / self.count:.0f}" for name, seconds in self.cpu.items()
        )
        total = sum(self.cpu.values())
        return (
            f"{self.count:,} containers: {self.count / self.seconds:,.0f} a second"
            f" ({self.seconds:.2f} s); µs of CPU a container: {cpu}; {self.count / total:,.0f} for"
            " each second of CPU"
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=int, action="append", help="may be repeated; default: 1000 and 10000"
    )
    parser.add_argument("--clusters", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=3, help="of each; default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home")
        service.start()
        try:
            url = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
            with psycopg.connect(url, autocommit=True) as database:
                for count in options["count"] or (1000, 10_000):
                    for _ in range(options["tries"]):
                        out(str(measure(service, database, count, options["clusters"])))
            status, output = service.run("verify")
        finally:
            service.stop()
    if status:
        raise CommandError(output)


def measure(service: Service, database: Connection, count: int, clusters: int) -> Report:
    """Start `count` containers of a new organization, without those of former ones."""
    _clear(database)
    with Client.newcomer(service.url, f"bench-{secrets.token_hex(4)}") as client:
        organization = client.post("/organizations", name="Bench starts")["id"]
        _add_clusters(client, organization, count, clusters)
        for start in range(0, count - 1, _BULK):
            rows = [_row(number) for number in range(start, min(start + _BULK, count - 1))]
            client.post("/deployments/bulk", deployments=rows)
        database.execute(
            "UPDATE clusters_cluster SET state = 'active' WHERE organization_id = %s",
            [organization],
        )
        processes = {n: p for n, p in service.processes().items() if n in _MEASURED}
        # The bench's own session, which polls, is one of the children of PostgreSQL.
        processes["own"] = psutil.Process(database.info.backend_pid)
        before = cpu_seconds(processes)
        client.post("/deployments", **_row(count))  # which requests the cycle
        seconds = _wait(database, organization, count)
        cpu = {name: after - before[name] for name, after in cpu_seconds(processes).items()}
    cpu["postgres"] -= cpu.pop("own")
    return Report(count, seconds, cpu)


def _clear(database: Connection) -> None:
    """Remove all deployments, again if a process of the service is just reading them."""
    for _ in range(_ATTEMPTS):
        with suppress(psycopg.errors.DeadlockDetected):
            database.execute("TRUNCATE deployments_deployment, clusters_simulatedcontainer CASCADE")
            return
    raise CommandError("The service does not let go of the deployments.")


def _add_clusters(client: Client, organization: int, count: int, clusters: int) -> None:
    """Add cordoned clusters that together can just hold `count` deployments."""
    each = -(-count // clusters)
    for number in range(clusters):
        cluster = client.post(
            "/clusters", organization=organization, name=f"cluster-{number}", cpu=_CPU * each,
            ram_mib=_RAM_MIB * each, gpu=0,
        )  # fmt: skip
        client.post(f"/clusters/{cluster['id']}/cordon")


def _row(number: int) -> dict[str, Any]:
    return {"name": f"job-{number}", "image": "bench/none:1", "cpu": _CPU, "ram_mib": _RAM_MIB}


def _wait(database: Connection, organization: int, count: int) -> float:
    """Return the seconds from the first placed deployment until all are running."""
    deadline = time.perf_counter() + _PATIENCE_S
    began: float | None = None
    while (now := time.perf_counter()) < deadline:
        row = database.execute(
            "SELECT count(*) FILTER (WHERE status <> 'pending'),"
            " count(*) FILTER (WHERE status = 'running')"
            " FROM deployments_deployment WHERE organization_id = %s",
            [organization],
        ).fetchone()
        placed, running = row or (0, 0)
        if placed and began is None:
            began = now
        if began is not None and running == count:
            return now - began
        time.sleep(_POLL_S)
    raise CommandError(f"Not all were running after {_PATIENCE_S:.0f} s.")
