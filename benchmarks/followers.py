"""Many followers of events while clients produce events: latency, memory, CPU, and no gap.

The bench starts a separate service. With `--kill`, it kills random processes of it meanwhile. Each
follower resumes from its last number, and checks that it gets each number of its organization
exactly once and in order.
"""

import asyncio
import secrets
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from django.core.management.base import CommandError

from benchmarks.client import Client
from benchmarks.following import Seen, ended, follow, wait_until_connected, wait_until_reached
from benchmarks.service import Service, wait_until

PATIENCE_S = 180.0
_ORGANIZATIONS = 10
_VICTIMS = ("events", "web", "postgres", "valkey", "worker")
_MIB = 1024 * 1024

Person = tuple[Client, int]


@dataclass(slots=True)
class Report:
    """The result of one run; times are in seconds, memory is in MiB."""

    seconds: float = 0.0
    events: int = 0
    followers: list[Seen] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Return every gap, repetition and wrong order that a follower noticed."""
        return [problem for seen in self.followers for problem in seen.problems]

    def lines(self) -> Iterator[str]:
        times = sorted(s for seen in self.followers for s in seen.latencies_s)
        resumed = sum(seen.connections - 1 for seen in self.followers)
        yield (
            f"{len(self.followers)} followers, {self.events} events in {self.seconds:.0f} s:"
            f" {len(times)} deliveries, {resumed} resumptions, killed: {dict(self.killed)}"
        )
        if times:
            p50, p99 = (times[min(len(times) - 1, len(times) * p // 100)] for p in (50, 99))
            yield f"from the event to its arrival: median {p50:.3f} s, 99th percentile {p99:.3f} s"
        for kind, (before, after) in self.memory.items():
            # A killed process takes its CPU along.
            cpu = "" if self.killed else f"; CPU {self.cpu_s.get(kind, 0.0):.1f} s"
            yield f"{kind}: {before:.0f} MiB, with all followers {after:.0f} MiB{cpu}"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--followers", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--producers", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=10.0,
                        help="events a second of all producers; default: %(default)s")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=20.0, help="default: %(default)s")
    parser.add_argument("--kill", type=float, metavar="SECONDS",
                        help="kill a random process about every so many seconds")  # fmt: skip


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    with TemporaryDirectory(prefix="hypervisor-bench-") as folder:
        service = Service(Path(folder) / "home")
        service.start()
        try:
            report = run(
                service, followers=options["followers"], producers=options["producers"],
                rate=options["rate"], seconds=options["seconds"], kill_s=options["kill"],
            )  # fmt: skip
        finally:
            service.stop()
    for line in report.lines():
        out(line)
    if report.problems:
        raise CommandError("\n".join(["Followers lost or repeated events:", *report.problems]))


def run(
    service: Service, *, followers: int, producers: int, rate: float, seconds: float,
    kill_s: float | None = None, victims: Sequence[str] = _VICTIMS,
) -> Report:  # fmt: skip
    """Let followers follow while producers produce, and perhaps processes die."""
    report = Report(followers=[Seen() for _ in range(followers)])
    before = _memory(service)
    with (
        _people(service.url) as people,
        _following(service.url, people, report.followers) as followed,
    ):
        cpu_s, began = service.cpu_s(), time.monotonic()
        report.memory = {k: (before[k], mib) for k, mib in _memory(service).items() if k in before}
        over = threading.Event()
        with ThreadPoolExecutor(producers) as pool:
            pace_s = producers / rate
            work = [
                pool.submit(_produce, *people[n % len(people)], pace_s, over)
                for n in range(producers)
            ]
            try:
                if kill_s is None:
                    over.wait(seconds)
                else:
                    _kill(service, Random(1), kill_s, seconds, victims, report.killed)  # noqa: S311
            finally:
                over.set()
            for each in work:
                each.result()
        report.seconds = time.monotonic() - began
        report.events = followed()
        now_s = service.cpu_s()
        report.cpu_s = {kind: now_s[kind] - s for kind, s in cpu_s.items() if kind in now_s}
    return report


@contextmanager
def _people(url: str) -> Iterator[list[Person]]:
    """Yield users, each with an organization of its own, and the organizations' ids."""
    with ExitStack() as stack:
        people = []
        for _ in range(_ORGANIZATIONS):
            name = f"follower-{secrets.token_hex(4)}"
            client = stack.enter_context(Client.newcomer(url, name, PATIENCE_S))
            people.append((client, int(client.post("/organizations", name=name)["id"])))
        yield people


@contextmanager
def _following(
    url: str, people: Sequence[Person], followers: Sequence[Seen]
) -> Iterator[Callable[[], int]]:
    """Follow in a thread; yield a function that waits until everything has arrived.

    It returns the number of all events. Raises TimeoutError if a follower misses some for long.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(2 * PATIENCE_S)

    def all_arrived() -> int:
        total = 0
        for number, (client, _) in enumerate(people):
            last = int(client.get("/events")["after"])
            mine = followers[number :: len(people)]
            wait(wait_until_reached(mine, last, PATIENCE_S))
            total += last
        return total

    tasks = [
        asyncio.run_coroutine_threadsafe(
            follow(url, people[number % len(people)][0].token, seen), loop
        )
        for number, seen in enumerate(followers)
    ]
    try:
        wait(wait_until_connected(followers))
        for seen in followers:
            seen.since = time.time()
        yield all_arrived
    finally:
        for task in tasks:
            task.cancel()
        wait(ended())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _produce(client: Client, organization: int, pace_s: float, over: threading.Event) -> None:
    """Rename the organization again and again: each time is an event."""
    with client.sibling() as producer:
        while not over.wait(pace_s):
            producer.patch(f"/organizations/{organization}", name=secrets.token_hex(8))


def _kill(
    service: Service, choose: Random, every_s: float, seconds: float, victims: Sequence[str],
    killed: Counter[str],
) -> None:  # fmt: skip
    """Kill processes until the time is over, in turn at first, and wait until each is back."""
    deadline = time.monotonic() + seconds
    order = list(victims)
    while order or time.monotonic() < deadline:
        kind = order.pop(0) if order else choose.choice(victims)
        victim = service.kill(kind)
        killed[kind] += 1
        wait_until(lambda k=kind, v=victim: service.is_back(k, v), f"{kind} is back")  # type: ignore[misc]
        time.sleep(choose.uniform(0.5, 1.5) * every_s)


def _memory(service: Service) -> dict[str, float]:
    """Return the private memory of the processes that followers use, by kind, in MiB."""
    return {
        kind: sum(map(_private, [process, *process.children(recursive=True)]))
        for kind, process in service.processes().items()
        if kind in ("events", "web")
    }


def _private(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / _MIB
