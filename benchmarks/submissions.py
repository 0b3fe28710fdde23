"""How many deployments a second the API accepts, compared with two rivals on the same PostgreSQL.

The bench starts a separate service on this machine, with its workers. Its clients submit
deployments one by one; then as many clients do the same to a small FastAPI and SQLAlchemy
application with as many processes (`rival.py`), and so on in turns. Bulks are compared with the
single INSERTs of pgbench. Both rivals use the service's database server while the service is idle.
"""

import importlib.util
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg
from django.conf import settings
from dotenv import dotenv_values

from benchmarks.client import Client
from benchmarks.hammer import Pace, hammer
from benchmarks.service import Service, cpu_seconds, free_port, wait_until
from hypervisor.standalone.servers import postgres_bin

_PROCESSES = 2
"""Processes of the web server that `up` starts, and of the rival's."""

_ENVIRONMENT = {"ACCESS_TOKEN_EXPIRE_MINUTES": "600"}
_BULK = 1000
_RIVAL = ("fastapi", "sqlalchemy", "asyncpg", "uvloop", "httptools")
_CLUSTER = {"name": "rack", "cpu": 64, "ram_mib": 262144, "gpu": 8}

_PGBENCH = """
\\set amount random(1, 16)
INSERT INTO single (organization_id, name, image, cpu_milli, ram_mib, gpu, priority)
VALUES (1, 'bench', 'bench/none:1', :amount * 1000, :amount * 1024, 0, 50);
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The pace of some clients, and the CPU milliseconds of each kind of process per request."""

    pace: Pace
    cpu: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        """CPU milliseconds of all processes per request."""
        return sum(self.cpu.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in self.cpu.items() if ms >= 0.05)
        return f"{self.pace}; CPU ms a request: {self.total_ms:.1f} ({parts})"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=1000, help="of 8 clients in each round")
    parser.add_argument("--bulks", type=int, default=5, help="of 1,000 deployments in each round")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=5, help="of each run of pgbench")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    out(_machine())
    with tempfile.TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home", **_ENVIRONMENT)
        try:
            service.start()
            target = Target.of(service)
            with _rival(service) as rival:
                for clients in (1, 8):
                    count = options["requests"] // (8 if clients == 1 else 1)
                    for line in compare_singles(
                        target, rival, clients=clients, count=count, rounds=options["rounds"]
                    ):
                        out(line)
            for line in compare_bulks(
                target, bulks=options["bulks"], seconds=options["seconds"], rounds=options["rounds"]
            ):
                out(line)
        finally:
            service.stop()


@dataclass(frozen=True, slots=True)
class Target:
    """What is hammered: its URL and token, and its processes by name."""

    url: str
    token: str
    processes: Mapping[str, psutil.Process]
    database: str

    @classmethod
    def of(cls, service: Service) -> "Target":
        """Return a new organization with a cluster that is soon full."""
        with Client.newcomer(service.url, f"bench-{secrets.token_hex(4)}") as client:
            client.post("/organizations", name="Bench submissions")
            client.post("/clusters", **_CLUSTER)
            token = client.token
        database = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
        return cls(service.url, token, service.processes(), database)


def compare_singles(
    target: Target, rival: Target | None, *, clients: int, count: int, rounds: int
) -> Iterator[str]:
    """Submit one by one, to the service and to the rival in turns; yield lines of results."""
    rates, costs = [], []
    for number in range(rounds + 1):
        ours = measure(target, clients=clients, count=count)
        theirs = measure(rival, clients=clients, count=count) if rival else None
        if number == 0:
            continue  # Connections are open and code is loaded from now on.
        yield f"{_clients(clients)}, one by one: {ours}"
        if theirs:
            rates.append(ours.pace.rate / theirs.pace.rate)
            costs.append(ours.total_ms / theirs.total_ms)
            yield f"{_clients(clients)}, FastAPI and SQLAlchemy: {theirs}"
    if rates:
        yield (
            f"{_clients(clients)}: {_ratios(rates)} of the rival's requests a second,"
            f" {_ratios(costs)} times its CPU"
        )


def compare_bulks(target: Target, *, bulks: int, seconds: int, rounds: int) -> Iterator[str]:
    """Submit bulks of one client, and insert single rows with pgbench in turns; yield lines."""
    ratios = []
    with _single_table(target.database):
        for _ in range(rounds):
            ours = measure(target, clients=1, count=bulks, path="/deployments/bulk", body=_bulk)
            rows = _BULK * ours.pace.rate
            singles = pgbench(target.database, seconds)
            ratios.append(rows / singles)
            yield f"bulks of {_BULK:,}: {rows:.0f} deployments a second, {ours}"
            yield f"pgbench, single INSERTs of 8 clients: {singles:.0f} a second"
    yield f"bulks: {_ratios(ratios)} of the rows that pgbench inserts a second"


def measure(
    target: Target,
    *,
    clients: int,
    count: int,
    path: str = "/deployments",
    body: Callable[[int], Any] | None = None,
) -> Measured:
    """Send `count` requests with this many clients."""
    make = body or _spec
    before = cpu_seconds(target.processes)
    pace = hammer(
        target.url + path,
        target.token,
        lambda client: [make(n) for n in range(client, count, clients)],
        clients=clients,
    )
    after = cpu_seconds(target.processes)
    spent = {name: 1000 * (after[name] - before[name]) / count for name in after}
    return Measured(pace, spent)


def pgbench(database: str, seconds: int) -> float:
    """Return how many single INSERTs a second 8 clients of pgbench make."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_PGBENCH)
        script.flush()
        found = shutil.which("pgbench", path=f"{postgres_bin()}{os.pathsep}{os.environ['PATH']}")
        done = subprocess.run(
            [found or "pgbench", "--no-vacuum", "--client", "8", "--jobs", "2",
             "--time", str(seconds), "--file", script.name, database],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("tps = "))
    return float(line.split()[2])


def _spec(number: int) -> dict[str, Any]:
    return {
        "name": f"bench-{number}",
        "image": "bench/none:1",
        "cpu": 1 + number % 16,
        "ram_mib": 1024 * (1 + number % 32),
        "priority": 1 + number % 100,
    }


def _bulk(_: int) -> dict[str, Any]:
    return {"deployments": [_spec(n) for n in range(_BULK)]}


@contextmanager
def _rival(service: Service) -> Iterator[Target | None]:
    """Run the rival on the database server of the service, if its packages are installed."""
    if not all(importlib.util.find_spec(name) for name in _RIVAL):
        yield None
        return
    database = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
    environment = {**os.environ, "DATABASE_URL": database}
    token, port = secrets.token_urlsafe(), free_port()
    subprocess.run(
        [sys.executable, "-m", "benchmarks.rival", token],
        cwd=settings.BASE_DIR, env=environment, check=True,
    )  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "benchmarks.rival:app", "--port", str(port),
         "--workers", str(_PROCESSES), "--loop", "uvloop", "--http", "httptools",
         "--log-level", "warning", "--no-access-log"],
        cwd=settings.BASE_DIR, env=environment,
    )  # fmt: skip
    try:
        processes = {"web": psutil.Process(server.pid), "postgres": service.processes()["postgres"]}
        target = Target(f"http://127.0.0.1:{port}", token, processes, database)
        wait_until(
            lambda: hammer(f"{target.url}/deployments", token, lambda _: [_spec(0)], clients=1),
            "the rival answers",
        )
        yield target
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def _single_table(database: str) -> Iterator[None]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE single (id bigserial PRIMARY KEY, organization_id bigint, name text,"
            " image text, cpu_milli bigint, ram_mib bigint, gpu int, priority int)"
        )
        try:
            yield
        finally:
            connection.execute("DROP TABLE single")


def _machine() -> str:
    """Return what the figures depend on."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("django", "uvicorn", *_RIVAL):
        if importlib.util.find_spec(name):
            versions.append(f"{name} {version(name)}")
        else:
            versions.append(f"{name} is not installed")
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} before;"
        f" {', '.join(versions)}; {_PROCESSES} web processes each; a cluster of"
        f" {json.dumps(_CLUSTER)}"
    )


def _clients(count: int) -> str:
    return f"{count} client{'s' if count > 1 else ''}"


def _ratios(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
