"""Every verb in every status, at random, while processes are killed and frozen.

Three users submit, change, rename, stop, hold, cancel, start and delete deployments on real
engines, and containers are killed and removed directly on the engines. In the end, no deployment
may be between two states, every run must have ended, no container may remain, and every deployment
that was accepted must exist exactly once.
"""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPException
from random import Random
from typing import Any

import psutil
from django.core.management.base import CommandError
from docker.errors import DockerException
from requests import RequestException

from benchmarks.chaos import Report, inspect, live, submission, watch
from benchmarks.client import ApiError, Client
from benchmarks.engine import Bench
from benchmarks.service import wait_until

_USERS = 3
_WANTED_LIVE = 24
"""How many deployments that have not ended there should be for each node: about three times what
fits."""

_SETTLE_S = 300
_LONGEST_FREEZE_S = 8.0
_PROCESSES = ("engines", "engines", "engine", "worker", "beat", "valkey", "web", "postgres")

_VERBS = (
    "stop", "stop", "cancel", "start", "hold", "release", "priority", "priority", "name", "name",
    "requested_cluster", "max_runtime_s", "checkpoint", "delete",
)  # fmt: skip


@dataclass(slots=True)
class _Ledger:
    """The responses of the service: the ids that it accepted, those it deleted, and counts."""

    accepted: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0


def run(
    bench: Bench, engines: Sequence[Any], minutes: float, choose: Random,
    out: Callable[[str], object],
) -> None:  # fmt: skip
    """Run the bench. Raises CommandError when a check failed."""
    report, ledger, over, rest = Report(), _Ledger(), threading.Event(), threading.Event()
    frozen: Counter[str] = Counter()
    with ThreadPoolExecutor() as background:
        watching = background.submit(watch, bench, over, report)
        users = [
            background.submit(_act, bench, n, Random(choose.random()), ledger, rest)  # noqa: S311
            for n in range(_USERS)
        ]
        outside = background.submit(_interfere, bench, Random(choose.random()), ledger, rest)  # noqa: S311
        try:
            # In this thread, because an engine ends with the thread that started it.
            _disturb(bench, engines, time.monotonic() + 60 * minutes, choose, report, frozen)
            rest.set()
            for task in (*users, outside):
                task.result()
            _end_all(bench, report)
        finally:
            rest.set()
            over.set()
            watching.result()
    inspect(bench, report)
    report.problems += _missing(bench, ledger)
    out(_summary(bench, minutes, report, ledger, frozen))
    for problem in report.problems[:20]:
        out(f"PROBLEM {problem}")
    if report.problems:
        raise CommandError(f"{len(report.problems)} checks failed.")


def _act(bench: Bench, number: int, choose: Random, ledger: _Ledger, rest: threading.Event) -> None:
    """Act as one user until `rest` is set: keep enough deployments, and call verbs at random."""
    with bench.client.sibling() as client:
        for count in itertools.count(1):
            if rest.wait(choose.uniform(0, 0.3)):
                return
            try:
                _do_something(bench, client, f"churn-{number}-{count}", choose, ledger)
            except (HTTPException, OSError):  # The service has done it once or not at all.
                ledger.unanswered += 1
            except ApiError as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                ledger.unanswered += 1


def _do_something(bench: Bench, client: Client, name: str, choose: Random, ledger: _Ledger) -> None:
    rows = live(client)
    if len(rows) < _WANTED_LIVE * len(bench.engines):
        created = client.post("/deployments", **_spec(name, bench.image, choose))
        ledger.accepted.add(created["id"])
    else:
        _call(client, choose.choice(_VERBS), rows, choose, ledger)


def _call(
    client: Client, verb: str, rows: list[dict[str, Any]], choose: Random, ledger: _Ledger
) -> None:
    """Call a verb on a deployment that it may apply to; count it if the service rejects it."""
    if verb in ("start", "delete"):
        rows = client.list("/deployments?status=stopped&status=completed&status=failed") or rows
    row = choose.choice(_preferred(verb, rows) or rows)
    path = f"/deployments/{row['id']}"
    ledger.calls[verb] += 1
    try:
        match verb:
            case "priority":
                client.patch(path, priority=choose.randint(1, 100))
            case "name":
                client.patch(path, name=f"{row['name'].split('~')[0]}~{choose.randint(1, 999)}")
            case "requested_cluster":
                client.patch(path, requested_cluster=choose.choice((None, row["cluster"])))
            case "max_runtime_s":
                client.patch(path, max_runtime_s=choose.choice((None, 1, 5)))
            case "delete":
                ledger.deleted.add(row["id"])  # Before, because the response may be lost.
                client.delete(path)
            case _:
                client.post(f"{path}/{verb}")
    except ApiError as error:
        if error.status >= 500:
            raise
        ledger.rejected[error.status] += 1
        if verb == "delete" and error.status != 404:
            ledger.deleted.discard(row["id"])


def _preferred(verb: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the deployments in a rare status, such as those whose containers stop."""
    if verb in ("priority", "name"):
        return [row for row in rows if row["status"] in ("stopping", "starting")]
    wanted = {"stop": ("starting", "running"), "release": ("pending",), "hold": ("pending",)}
    return [row for row in rows if row["status"] in wanted.get(verb, ())]


def _spec(name: str, image: str, choose: Random) -> dict[str, Any]:
    seconds = choose.choice((0.2, 1, 3, 8, 600))
    on_term = choose.choice(
        (":", "trap '' TERM", "trap 'exit 0' TERM", "trap 'sleep 1; exit 3' TERM")
    )
    script = f"{on_term}; sleep {seconds} & wait; exit {choose.choice((0, 0, 3))}"
    return submission(name, image, script, 100, choose)


def _interfere(bench: Bench, choose: Random, ledger: _Ledger, rest: threading.Event) -> None:
    """Kill, end or remove a container directly on the engine at intervals."""
    while not rest.wait(choose.uniform(2, 8)):
        with suppress(DockerException, RequestException):
            containers = bench.containers()
            if not containers:
                continue
            container = choose.choice(containers)
            how = choose.choice(("SIGKILL", "SIGTERM", "remove"))
            ledger.calls[f"outside {how}"] += 1
            container.remove(force=True) if how == "remove" else container.kill(how)


def _disturb(
    bench: Bench,
    engines: Sequence[Any],
    until: float,
    choose: Random,
    report: Report,
    frozen: Counter[str],
) -> None:
    """Kill or freeze one process at a time, and wait until it is back."""
    while time.monotonic() < until:
        time.sleep(choose.uniform(2, 6))
        name, engine = choose.choice(_PROCESSES), choose.choice(engines)
        if choose.random() < 0.5:
            _freeze(bench, engine, name, choose.uniform(1, _LONGEST_FREEZE_S))
            frozen[name] += 1
        elif name == "engine":
            engine.kill()
            time.sleep(choose.uniform(0, 3))
            engine.start()
            report.killed[name] += 1
        else:
            killed = bench.service.kill(name, choose)
            wait_until(partial(bench.service.is_back, name, killed), f"{name} is back")
            report.killed[name] += 1


def _freeze(bench: Bench, engine: Any, name: str, seconds: float) -> None:
    """Pause a process and its descendants, as on a machine that swaps or is suspended."""
    if name == "engine":
        engine.pause()
        time.sleep(seconds)
        engine.resume()
        return
    process = bench.service.one_of(name)
    family = [process, *process.children(recursive=True)]
    for number, pause in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0)):
        for member in family:
            with suppress(psutil.Error, ProcessLookupError):
                os.kill(member.pid, number)
        time.sleep(pause)


def _end_all(bench: Bench, report: Report) -> None:
    """Cancel or stop all deployments; record those that do not end."""
    verbs: Mapping[str, str] = {"pending": "cancel", "starting": "stop", "running": "stop"}

    def ended() -> bool:
        rows = live(bench.client)
        for row in rows:
            if verb := verbs.get(row["status"]):
                with suppress(ApiError):  # Its status may have changed.
                    bench.client.post(f"/deployments/{row['id']}/{verb}")
        return not rows

    with suppress(TimeoutError):
        wait_until(ended, "every deployment has ended", _SETTLE_S)
    report.problems += [
        f"{row['name']} ({row['id']}) is stuck in {row['status']}: {row['status_reason']}"
        for row in live(bench.client)
    ]


def _missing(bench: Bench, ledger: _Ledger) -> list[str]:
    rows = bench.client.list("/deployments")
    names = Counter(row["name"].split("~")[0] for row in rows)
    lost = ledger.accepted - ledger.deleted - {row["id"] for row in rows}
    return [
        *(f"deployment {pk} was accepted, but does not exist" for pk in lost),
        *(f"{name} exists {count} times" for name, count in names.items() if count > 1),
    ]


def _summary(
    bench: Bench, minutes: float, report: Report, ledger: _Ledger, frozen: Counter[str]
) -> str:
    rows = bench.client.list("/deployments")
    return (
        f"{minutes:g} minutes: {len(ledger.accepted)} accepted, {len(ledger.deleted)} deleted,"
        f" {dict(Counter(row['status'] for row in rows))},"
        f" {sum(row['preemptions'] for row in rows)} preemptions\n"
        f"calls: {dict(ledger.calls)}; rejected: {dict(ledger.rejected)};"
        f" unanswered: {ledger.unanswered}\n"
        f"killed with -9: {dict(report.killed)}; frozen: {dict(frozen)}\n"
        f"{len(report.seen)} containers seen in {report.polls} polls, at most {report.most} at once"
    )
