"""Containers that start, stop and preempt each other at random while processes are killed.

The bench polls the engines for their running containers. Those of an engine must never exceed its
node's capacity or share a GPU, and no two on any engines may belong to the same deployment.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from django.core.management.base import CommandError
from docker.client import DockerClient
from docker.errors import DockerException
from requests import RequestException

from benchmarks.client import ApiError, Client
from benchmarks.engine import CAPACITY, DEVICES, Bench
from benchmarks.service import wait_until

_SETTLE_S = 900
_LIVE = ("pending", "starting", "running", "stopping")
_NAME = "BENCH_NAME"
_VICTIMS = (
    "engines",
    "engines",
    "engine",
    "engine",
    "worker",
    "background",
    "beat",
    "valkey",
    "web",
)


@dataclass(slots=True)
class Report:
    polls: int = 0
    most: int = 0
    seen: set[str] = field(default_factory=set)
    killed: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def run(
    bench: Bench, engines: Sequence[Any], count: int, choose: Random, out: Callable[[str], object]
) -> None:
    """Run the bench. Raises CommandError when a check failed."""
    report, over, began = Report(), threading.Event(), time.monotonic()
    _submit(bench, count, choose)
    with ThreadPoolExecutor() as background:
        watching = background.submit(watch, bench, over, report)
        changing = background.submit(_change, bench, count, Random(1), over)  # noqa: S311
        try:
            # In this thread, because an engine ends with the thread that started it.
            _kill(bench, engines, count, choose, report)
            changing.result()
            wait_until(lambda: not _competing(bench), "every deployment has ended", _SETTLE_S)
        finally:
            over.set()
            watching.result()
    inspect(bench, report)
    statuses = Counter(d["status"] for d in bench.client.list("/deployments"))
    preemptions = sum(d["preemptions"] for d in bench.client.list("/deployments"))
    out(
        f"{count} deployments in {time.monotonic() - began:.0f} s: {dict(statuses)},"
        f" {preemptions} preemptions, {len(report.seen)} containers seen, at most {report.most} at"
        f" once\nkilled with -9: {dict(report.killed)}\n{report.polls} polls of {_many(engines)}"
    )
    for problem in report.problems[:20]:
        out(f"PROBLEM {problem}")
    if report.problems:
        raise CommandError(f"{len(report.problems)} checks failed.")


def _many(engines: Sequence[Any]) -> str:
    return "the engine" if len(engines) == 1 else f"{len(engines)} engines"


def _submit(bench: Bench, count: int, choose: Random) -> None:
    rows = [_spec(number, bench.image, choose) for number in range(count)]
    bench.client.post("/deployments/bulk", deployments=rows)


def _spec(number: int, image: str, choose: Random) -> dict[str, Any]:
    seconds = choose.choice((0.2, 0.5, 1, 3, 8))
    on_term = choose.choice((":", ":", ":", "trap '' TERM"))
    code = choose.choice((0, 0, 0, 0, 3))
    script = f"{on_term}; sleep {seconds}; exit {code}"
    return submission(f"chaos-{number}", image, script, 40, choose)


def submission(
    name: str, image: str, script: str, highest_priority: int, choose: Random
) -> dict[str, Any]:
    """Return the fields of a deployment with a random request and priority.

    The environment of its containers contains its name.
    """
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", script],
        "env": {_NAME: name},
        "cpu": choose.choice((0.1, 0.2, 0.5, 1)),
        "ram_mib": choose.choice((64, 128, 512, 1024)),
        "gpu": choose.choice((0, 0, 0, 1, 2)),
        "priority": choose.randint(1, highest_priority),
        "restart_policy": choose.choice(("never", "on-failure")),
        "max_restarts": 1,
    }


def _change(bench: Bench, count: int, choose: Random, over: threading.Event) -> None:
    """Stop running deployments, and raise the priority of pending ones so that they preempt.

    Each is done for a quarter of the deployments.
    """
    with bench.client.sibling() as client:
        for _ in range(count // 4):
            over.wait(choose.uniform(0.5, 1.5))
            for status in ("running", "pending"):
                rows = client.list(f"/deployments?status={status}")
                if not rows:
                    continue
                path = f"/deployments/{choose.choice(rows)['id']}"
                with suppress(ApiError):  # It may have ended.
                    if status == "running":
                        client.post(f"{path}/stop")
                    else:
                        client.patch(path, priority=50)


def _kill(bench: Bench, engines: Sequence[Any], count: int, choose: Random, report: Report) -> None:
    """Kill one process at a time, and wait until it is back, until three quarters have ended."""
    while len(_competing(bench)) > count // 4:
        time.sleep(choose.uniform(1, 4))
        victim = choose.choice(_VICTIMS)
        if victim == "engine":
            engine = choose.choice(engines)
            engine.kill()
            time.sleep(choose.uniform(0, 3))
            engine.start()
        else:
            killed = bench.service.kill(victim, choose)
            wait_until(partial(bench.service.is_back, victim, killed), f"{victim} is back")
        report.killed[victim] += 1


def watch(bench: Bench, over: threading.Event, report: Report) -> None:
    polled = [_Polled(engine) for engine in bench.engines]
    while not over.is_set():
        running = [container for one in polled for container in one.running(report)]
        report.polls += 1
        report.most = max(report.most, len(running))
        report.problems += _together(running, polled)
        over.wait(0.02)


class _Polled:
    """An engine with what is known of its containers, which does not change while they run."""

    def __init__(self, engine: DockerClient) -> None:
        self._engine = engine
        self._known: dict[str, dict[str, Any]] = {}

    def running(self, report: Report) -> list[dict[str, Any]]:
        """Return the running containers, none while the engine does not answer; check them."""
        try:
            listed = self._engine.api.containers(filters={"label": "mlops-hypervisor.run"})
            for row in listed:
                if row["Id"] not in self._known:
                    self._known[row["Id"]] = self._engine.api.inspect_container(row["Id"])
        except (DockerException, RequestException):
            return []  # The engine has been killed.
        found = [self._known[row["Id"]] for row in listed]
        report.seen |= {row["Id"] for row in listed}
        report.problems += _overfull(found)
        return found

    def still_runs(self, container: dict[str, Any]) -> bool:
        """Return whether the container still runs, as far as the engine answers."""
        if container["Id"] not in self._known:
            return False
        try:
            state = self._engine.api.inspect_container(container["Id"])["State"]
        except (DockerException, RequestException):
            return False
        return bool(state["Running"])


def _together(running: list[dict[str, Any]], polled: list[_Polled]) -> list[str]:
    """Return the deployments of which several containers run at once, on any engines.

    The engines are polled one after the other, so the containers must all still run afterwards.
    """
    by_owner: dict[str, list[dict[str, Any]]] = {}
    for container in running:
        for value in container["Config"]["Env"]:
            if value.startswith(f"{_NAME}="):
                by_owner.setdefault(value, []).append(container)
    return [
        f"{len(containers)} containers of {owner} at once"
        for owner, containers in by_owner.items()
        if len(containers) > 1 and all(any(one.still_runs(c) for one in polled) for c in containers)
    ]


def _overfull(running: list[dict[str, Any]]) -> list[str]:
    """Return the violations among the containers that run on an engine at one moment."""
    hosts = [container["HostConfig"] for container in running]
    cpu = sum(host["NanoCpus"] for host in hosts) / 10**9
    ram = sum(host["Memory"] for host in hosts) / 2**20
    devices = Counter(
        device
        for host in hosts
        for request in host["DeviceRequests"] or ()
        for device in request["DeviceIDs"]
    )
    problems = [f"GPU {device} belongs to {n} containers" for device, n in devices.items() if n > 1]
    problems += [f"unknown GPU {device}" for device in devices if device not in DEVICES]
    if cpu > CAPACITY["cpu"] or ram > CAPACITY["ram_mib"]:
        problems.append(f"{cpu:g} CPU and {ram:g} MiB are allocated of {CAPACITY}")
    return problems


def live(client: Client) -> list[dict[str, Any]]:
    """Return the deployments that have not ended."""
    return client.list("/deployments?" + "&".join(f"status={status}" for status in _LIVE))


def _competing(bench: Bench) -> list[dict[str, Any]]:
    """Return the deployments that have not ended, except those with preemption suspended."""
    return [row for row in live(bench.client) if row["status_code"] != "preemption_suspended"]


def inspect(bench: Bench, report: Report) -> None:
    for row in bench.client.list("/deployments?status=pending"):
        bench.client.post(f"/deployments/{row['id']}/cancel")
    with suppress(TimeoutError, RequestException):
        wait_until(lambda: not bench.containers(), "no container remains", 60)
    report.problems += [f"{c.name} remains on the engine" for c in bench.containers()]
    status, output = bench.service.run("verify")
    report.problems += [f"verify: {output}"] if status else []
