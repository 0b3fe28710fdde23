"""Many concurrent clients on three clusters, which are polled all the time and checked at the end.

With chaos, or with a number of processes of some kind, the bench starts a separate service. With
chaos it kills that service's processes.
"""

import random
import secrets
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from benchmarks.client import Client
from benchmarks.service import Service, add_scale, running_service, wait_until
from scheduling.insight.verify import violations

_DIMENSIONS = ("cpu", "ram_mib", "gpu")
_CAPACITIES = (
    {"cpu": 64, "ram_mib": 262144, "gpu": 8},
    {"cpu": 32, "ram_mib": 131072, "gpu": 4},
    {"cpu": 128, "ram_mib": 65536, "gpu": 0},
)
_VICTIMS = ("web", "worker", "background", "engines", "beat", "valkey")
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Report:
    """The observations; `problems` is empty if no check failed."""

    accepted: int = 0
    seconds: float = 0
    settled_after_s: float = 0
    polls: int = 0
    killed: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    preemptions: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        rate = self.accepted / self.seconds
        settled = f"settled {self.settled_after_s:.1f} s later"
        lines = [
            f"{self.accepted} accepted in {self.seconds:.1f} s ({rate:.0f} a second)",
            f"{settled}: {statuses}; {self.preemptions} preemptions",
            f"{self.polls} polls of the clusters",
        ]
        if self.killed:
            lines.append(f"killed with -9: {', '.join(self.killed)}")
        return "\n".join([*lines, *(f"PROBLEM {problem}" for problem in self.problems)])


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--url", default=running_service(), help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--deployments", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--chaos",
        action="store_true",
        help="start a separate service and kill its processes with -9",
    )
    add_scale(parser)


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    """Run the bench. Raises CommandError when a check failed."""
    sizes = {name: options[name] for name in ("clients", "deployments", "seed")}
    if options["chaos"] or options["scale"]:
        with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
            service = Service(Path(folder) / "home").scale(options["scale"])
            service.start()
            try:
                report = run(service.url, **sizes, chaos=service if options["chaos"] else None)
                status, output = service.run("verify")
            finally:
                service.stop()
        report.problems += [f"verify: {output}"] if status else []
    else:
        report = run(options["url"], **sizes)
        report.problems += [f"verify: {problem}" for problem in violations()]
    out(str(report))
    if report.problems:
        raise CommandError(f"{len(report.problems)} checks failed.")


def run(
    url: str, *, clients: int, deployments: int, seed: int, chaos: Service | None = None
) -> Report:
    """Submit deployments, poll the clusters until all has settled, and check the result."""
    report = Report()
    with Client.newcomer(url, f"bench-{secrets.token_hex(4)}", _PATIENCE_S) as client:
        organization = client.post("/organizations", name="Bench load")["id"]
        for n, capacity in enumerate(_CAPACITIES):
            client.post("/clusters", organization=organization, name=f"cluster-{n}", **capacity)
        _submit_and_watch(client, clients, _specs(deployments, seed), report, chaos)
        _inspect(client, deployments, report)
    return report


def _submit_and_watch(
    client: Client,
    clients: int,
    specs: list[dict[str, Any]],
    report: Report,
    chaos: Service | None,
) -> None:
    over = threading.Event()
    with ThreadPoolExecutor() as background:
        watching = background.submit(_watch, client.sibling(), over, report)
        killing = background.submit(_kill, chaos, over, report) if chaos else None
        try:
            _submit_all(client, clients, specs, report)
            _settle(client, report)
        finally:
            over.set()
            watching.result()
            if killing:
                killing.result()


def _specs(count: int, seed: int) -> list[dict[str, Any]]:
    choose = random.Random(seed)  # noqa: S311 - reproducible, not secret
    return [
        {
            "name": f"load-{number}",
            "image": "bench/none:1",
            "cpu": choose.randint(1, 16),
            "ram_mib": 1024 * choose.randint(1, 32),
            "gpu": choose.choice((0, 0, 0, 1, 1, 2)),
            "priority": choose.randint(1, 100),
        }
        for number in range(count)
    ]


def _submit_all(client: Client, clients: int, specs: list[dict[str, Any]], report: Report) -> None:
    def submit(share: list[dict[str, Any]]) -> int:
        with client.sibling() as own:
            return len([own.post("/deployments", **spec) for spec in share])

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        report.accepted = sum(pool.map(submit, [specs[n::clients] for n in range(clients)]))
    report.seconds = time.monotonic() - began


def _watch(client: Client, over: threading.Event, report: Report) -> None:
    """Poll the clusters, and record each time that one is oversubscribed."""
    with client as watcher:
        while not over.is_set():
            for cluster in watcher.list("/clusters"):
                report.problems += [
                    f"{cluster['name']} had {cluster['allocated'][name]} {name} allocated"
                    f" of {cluster[name]}"
                    for name in _DIMENSIONS
                    if cluster["allocated"][name] > cluster[name]
                ]
            report.polls += 1


def _kill(service: Service, over: threading.Event, report: Report) -> None:
    """Kill one process at a time, and wait until it is back."""
    choose = random.Random(0)  # noqa: S311 - reproducible, not secret
    for name in _VICTIMS:
        if over.wait(0.5):
            return
        killed = service.kill(name, choose)
        report.killed.append(name)
        wait_until(partial(service.is_back, name, killed), f"{name} is back")


def _settle(client: Client, report: Report) -> None:
    """Wait until nothing starts or stops, and no deployment waits that the rules let run."""
    began = time.monotonic()
    try:
        wait_until(lambda: not _unsettled(client), "every deployment has settled", 120)
    except TimeoutError:
        report.problems += _unsettled(client)[:10]
    report.settled_after_s = time.monotonic() - began


def _unsettled(client: Client) -> list[str]:
    deployments = client.list("/deployments")
    moving = [
        f"{d['name']} is still {d['status']}"
        for d in deployments
        if d["status"] in ("starting", "stopping")
    ]
    if moving:
        return moving
    running = [d for d in deployments if d["status"] == "running"]
    clusters = client.list("/clusters")
    return [
        f"{waiting['name']} (priority {waiting['priority']}) waits, but would fit on"
        f" {cluster['name']} next to what it may not preempt"
        for waiting in deployments
        if waiting["status"] == "pending"
        for cluster in clusters
        if _would_fit(waiting, cluster, running) and not _is_in_back_off(client, waiting)
    ]


def _would_fit(
    waiting: dict[str, Any], cluster: dict[str, Any], running: list[dict[str, Any]]
) -> bool:
    """Return whether it fits next to what it may not preempt, so that it should not wait."""
    stays = [d for d in running if d["cluster"] == cluster["id"] and not _may_preempt(waiting, d)]
    return all(waiting[name] + sum(d[name] for d in stays) <= cluster[name] for name in _DIMENSIONS)


def _may_preempt(waiting: dict[str, Any], other: dict[str, Any]) -> bool:
    policy = settings.SCHEDULER_POLICY
    gap = waiting["priority"] - other["priority"]
    spared = other["preemptions"] >= policy.preemption_budget
    return gap > 0 and (not spared or gap >= policy.budget_override_gap)


def _is_in_back_off(client: Client, waiting: dict[str, Any]) -> bool:
    """Return whether it waits for the end of a back-off after repeated evictions."""
    return bool(client.get(f"/deployments/{waiting['id']}/explain")["code"] == "backoff")


def _inspect(client: Client, expected: int, report: Report) -> None:
    deployments = client.list("/deployments")
    for deployment in deployments:
        status = deployment["status"]
        report.statuses[status] = report.statuses.get(status, 0) + 1
        report.preemptions += deployment["preemptions"]
    if not report.accepted == len(deployments) == expected:
        report.problems.append(
            f"{expected} were submitted, {report.accepted} were accepted, {len(deployments)} exist"
        )
