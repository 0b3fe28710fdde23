"""The time from a POST until its deployment is placed, and until it runs.

It is measured on an otherwise idle service by a client that polls without a pause.
"""

import secrets
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.client import Client
from benchmarks.service import running_service, wait_until

_WHOLE = {"image": "bench/none:1", "cpu": 8, "ram_mib": 8192}
_SHOWN_AS_PLACED = ("starting", "running")


@dataclass(frozen=True, slots=True)
class Sample:
    """Milliseconds from just before the POST until the client saw the status."""

    placed: float
    running: float


@dataclass(frozen=True, slots=True)
class Report:
    name: str
    samples: list[Sample]

    def __str__(self) -> str:
        placed = [sample.placed for sample in self.samples]
        running = [sample.running for sample in self.samples]
        return (
            f"{self.name:<14} {len(self.samples)} tries"
            f"   placed: median {median(placed):.0f} ms, worst {max(placed):.0f} ms"
            f"   running: median {median(running):.0f} ms, worst {max(running):.0f} ms"
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--url", default=running_service(), help="default: %(default)s")
    parser.add_argument("--tries", type=int, default=20, help="default: %(default)s")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    for report in measure(options["url"], options["tries"]):
        out(str(report))


def measure(url: str, tries: int) -> list[Report]:
    """Measure deployments that fit and deployments that must preempt, in a new organization."""
    with Client.newcomer(url, f"bench-{secrets.token_hex(4)}") as client:
        return _measure(client, tries)


def _measure(client: Client, tries: int) -> list[Report]:
    organization = client.post("/organizations", name="Bench latency")["id"]
    cluster = client.post(
        "/clusters", organization=organization, name="one", cpu=8, ram_mib=8192, gpu=0
    )
    try:
        return [
            Report("fits", [fitting(client) for _ in range(tries)]),
            Report("must preempt", [_preempting(client) for _ in range(tries)]),
        ]
    finally:
        _clear(client)
        client.delete(f"/clusters/{cluster['id']}")
        client.delete(f"/organizations/{organization}")


def fitting(client: Client) -> Sample:
    sample = _submit(client, priority=50)
    _clear(client)
    return sample


def _preempting(client: Client) -> Sample:
    _submit(client, priority=10)
    sample = _submit(client, priority=90)
    _clear(client)
    return sample


def _submit(client: Client, priority: int) -> Sample:
    """Submit a deployment that needs the whole cluster; return when it was placed and running."""
    began = time.perf_counter()
    deployment = client.post("/deployments", name="probe", priority=priority, **_WHOLE)["id"]

    def seen(*statuses: str) -> float:
        while client.get(f"/deployments/{deployment}")["status"] not in statuses:
            if time.perf_counter() - began > 60:
                raise TimeoutError(f"Deployment {deployment} was not {statuses[-1]} after 60 s.")
        return 1000 * (time.perf_counter() - began)

    return Sample(placed=seen(*_SHOWN_AS_PLACED), running=seen("running"))


def _clear(client: Client) -> None:
    """End all deployments, the pending ones first so that no other is placed, and wait for it."""
    _each(client, "pending", "cancel")
    _each(client, "running", "stop")
    wait_until(_all_ended(client), "the bench's deployments have ended")


def _each(client: Client, status: str, verb: str) -> None:
    for deployment in client.list(f"/deployments?status={status}"):
        client.post(f"/deployments/{deployment['id']}/{verb}")


def _all_ended(client: Client) -> Callable[[], bool]:
    live = ("pending", "starting", "running", "stopping")
    return lambda: not any(client.list(f"/deployments?status={status}") for status in live)
