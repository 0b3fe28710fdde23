"""Every verb in every status, at random, while processes are killed and frozen.

Three people submit, change, rename, stop, hold, cancel, start again and delete deployments on a
real engine; somebody else kills and removes containers behind the service's back. In the end
everything must come to rest: no deployment between two states, no run without its end, no
container, and every deployment that was accepted is there exactly once.
"""

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
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

from benchmarks.chaos import Report, inspect, is_back, live, submission, watch
from benchmarks.client import ApiError, Client
from benchmarks.engine import Bench
from benchmarks.service import wait_until

_PEOPLE = 3
_WANTED_LIVE = 24
"""So many deployments that have not ended are kept up: about three times what fits."""

_SETTLE_S = 300
_LONGEST_FREEZE_S = 8.0
_PROCESSES = ("engines", "engines", "engine", "worker", "beat", "valkey", "web", "postgres")

_VERBS = (
    "stop", "stop", "cancel", "start", "hold", "release", "priority", "priority", "name", "name",
    "requested_cluster", "max_runtime_s", "checkpoint", "delete",
)  # fmt: skip


@dataclass(slots=True)
class _Ledger:
    """What the service answered to people: the ids that it accepted, and those it deleted."""

    accepted: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0


def run(
    bench: Bench, engine: Any, minutes: float, choose: Random, out: Callable[[str], object]
) -> None:
    """Raises CommandError when something did not hold."""
    report, ledger, over, rest = Report(), _Ledger(), threading.Event(), threading.Event()
    frozen: Counter[str] = Counter()
    with ThreadPoolExecutor() as background:
        watching = background.submit(watch, bench, over, report)
        people = [
            background.submit(_act, bench, n, Random(choose.random()), ledger, rest)  # noqa: S311
            for n in range(_PEOPLE)
        ]
        outside = background.submit(_meddle, bench, Random(choose.random()), ledger, rest)  # noqa: S311
        try:
            # Here, because an engine ends with the thread that started it.
            _hurt(bench, engine, time.monotonic() + 60 * minutes, choose, report, frozen)
            rest.set()
            for task in (*people, outside):
                task.result()
            _bring_to_rest(bench, report)
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
        raise CommandError(f"{len(report.problems)} things did not hold.")


def _act(bench: Bench, number: int, choose: Random, ledger: _Ledger, rest: threading.Event) -> None:
    """Be one person until it is time to rest: keep enough alive, and call verbs at random."""
    with bench.client.sibling() as client:
        for count in itertools.count(1):
            if rest.wait(choose.uniform(0, 0.3)):
                return
            try:
                _do_something(client, f"churn-{number}-{count}", bench.image, choose, ledger)
            except (HTTPException, OSError):  # what it was asked has happened once or not at all
                ledger.unanswered += 1
            except ApiError as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                ledger.unanswered += 1


def _do_something(client: Client, name: str, image: str, choose: Random, ledger: _Ledger) -> None:
    rows = live(client)
    if len(rows) < _WANTED_LIVE:
        created = client.post("/deployments", **_spec(name, image, choose))
        ledger.accepted.add(created["id"])
    else:
        _call(client, choose.choice(_VERBS), rows, choose, ledger)


def _call(
    client: Client, verb: str, rows: list[dict[str, Any]], choose: Random, ledger: _Ledger
) -> None:
    """Call a verb on one that it may fit; what its status forbids is refused, and counted."""
    if verb in ("start", "delete"):
        rows = client.list("/deployments?status=stopped&status=completed&status=failed") or rows
    row = choose.choice(_favoured(verb, rows) or rows)
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
                ledger.deleted.add(row["id"])  # first, because the answer may be lost
                client.delete(path)
            case _:
                client.post(f"{path}/{verb}")
    except ApiError as error:
        if error.status >= 500:
            raise
        ledger.refused[error.status] += 1
        if verb == "delete" and error.status != 404:
            ledger.deleted.discard(row["id"])


def _favoured(verb: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those in the rare status: a change while a container stops is what went wrong once."""
    if verb in ("priority", "name"):
        return [row for row in rows if row["status"] in ("stopping", "starting")]
    wanted = {"stop": ("starting", "running"), "release": ("pending",), "hold": ("pending",)}
    return [row for row in rows if row["status"] in wanted.get(verb, ())]


def _spec(name: str, image: str, choose: Random) -> dict[str, Any]:
    seconds = choose.choice((0.2, 1, 3, 8, 600))
    heeds = choose.choice(
        (":", "trap '' TERM", "trap 'exit 0' TERM", "trap 'sleep 1; exit 3' TERM")
    )
    script = f"{heeds}; sleep {seconds} & wait; exit {choose.choice((0, 0, 3))}"
    return submission(name, image, script, 100, choose)


def _meddle(bench: Bench, choose: Random, ledger: _Ledger, rest: threading.Event) -> None:
    """Kill, end or remove a container behind the service's back, now and then."""
    while not rest.wait(choose.uniform(2, 8)):
        with suppress(DockerException, RequestException):
            there = bench.containers()
            if not there:
                continue
            container = choose.choice(there)
            how = choose.choice(("SIGKILL", "SIGTERM", "remove"))
            ledger.calls[f"outside {how}"] += 1
            container.remove(force=True) if how == "remove" else container.kill(how)


def _hurt(
    bench: Bench,
    engine: Any,
    until: float,
    choose: Random,
    report: Report,
    frozen: Counter[str],
) -> None:
    """Kill or freeze one process after the other, each when the one before is back."""
    while time.monotonic() < until:
        time.sleep(choose.uniform(2, 6))
        name = choose.choice(_PROCESSES)
        if choose.random() < 0.5:
            _freeze(bench, engine, name, choose.uniform(1, _LONGEST_FREEZE_S))
            frozen[name] += 1
        elif name == "engine":
            engine.kill()
            time.sleep(choose.uniform(0, 3))
            engine.start()
            report.killed[name] += 1
        else:
            killed = bench.service.kill(name)
            wait_until(partial(is_back, bench, name, killed), f"{name} is back")
            report.killed[name] += 1


def _freeze(bench: Bench, engine: Any, name: str, seconds: float) -> None:
    """Stop a process and all under it, as a machine does that swaps or is suspended."""
    if name == "engine":
        engine.pause()
        time.sleep(seconds)
        engine.resume()
        return
    wait_until(lambda: name in bench.service.processes(), f"{name} is there")
    process = bench.service.processes()[name]
    family = [process, *process.children(recursive=True)]
    for number, pause in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0)):
        for member in family:
            with suppress(psutil.Error, ProcessLookupError):
                os.kill(member.pid, number)
        time.sleep(pause)


def _bring_to_rest(bench: Bench, report: Report) -> None:
    """Ask all that is left to end; note what does not come to rest."""
    verbs: Mapping[str, str] = {"pending": "cancel", "starting": "stop", "running": "stop"}

    def ended() -> bool:
        rows = live(bench.client)
        for row in rows:
            if verb := verbs.get(row["status"]):
                with suppress(ApiError):  # its status has changed meanwhile
                    bench.client.post(f"/deployments/{row['id']}/{verb}")
        return not rows

    with suppress(TimeoutError):
        wait_until(ended, "every deployment has ended", _SETTLE_S)
    report.problems += [
        f"{row['name']} ({row['id']}) is stranded in {row['status']}: {row['status_reason']}"
        for row in live(bench.client)
    ]


def _missing(bench: Bench, ledger: _Ledger) -> list[str]:
    rows = bench.client.list("/deployments")
    names = Counter(row["name"].split("~")[0] for row in rows)
    lost = ledger.accepted - ledger.deleted - {row["id"] for row in rows}
    return [
        *(f"deployment {pk} was accepted and is lost" for pk in lost),
        *(f"{name} is there {count} times" for name, count in names.items() if count > 1),
    ]


def _summary(
    bench: Bench, minutes: float, report: Report, ledger: _Ledger, frozen: Counter[str]
) -> str:
    rows = bench.client.list("/deployments")
    return (
        f"{minutes:g} minutes: {len(ledger.accepted)} accepted, {len(ledger.deleted)} deleted,"
        f" {dict(Counter(row['status'] for row in rows))},"
        f" {sum(row['preemptions'] for row in rows)} preemptions\n"
        f"calls: {dict(ledger.calls)}; refused: {dict(ledger.refused)};"
        f" unanswered: {ledger.unanswered}\n"
        f"killed with -9: {dict(report.killed)}; frozen: {dict(frozen)}\n"
        f"{len(report.seen)} containers seen in {report.looks} looks, at most {report.most} at once"
    )
