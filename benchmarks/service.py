"""A separate service: `manage.py up` with its own home and port."""

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Self

import psutil
from django.conf import settings

from hypervisor.standalone import overview

START_WITHIN_S = 240.0
SETTLE_WITHIN_S = 60.0
_MARKS = {
    "bin/postgres": "postgres",
    "valkey-server": "valkey",
    "hypervisor.web --events": "events",
    "hypervisor.web": "web",
    "--queues engines": "engines",
    "--queues background": "background",
    " worker": "worker",
    " beat": "beat",
}


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = SETTLE_WITHIN_S
) -> None:
    """Poll until the condition is true; an OSError counts as false. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except OSError as error:
            last = error
        else:
            if last:
                return
        time.sleep(0.05)
    raise TimeoutError(f"Not within {seconds:.0f} s: {what}; last seen: {last!r}")


def cpu_seconds(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Return the CPU seconds of each process and its descendants, also of those that have ended."""
    spent = dict.fromkeys(processes, 0.0)
    for name, process in processes.items():
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                # User, system, and the same of the ended children.
                spent[name] += sum(member.cpu_times()[:4])
    return spent


def running_service() -> str:
    """Return the URL of the service that `up` runs with the present settings."""
    host = os.environ.get("HOST") or "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{os.environ.get('PORT') or 8000}"


def free_port() -> int:
    """Return a port of this machine that no process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _cpu_s(process: psutil.Process) -> float:
    """Return the seconds that a process and its descendants have computed."""
    seconds = 0.0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            seconds += sum(member.cpu_times()[:4])  # user, system, and of descendants that ended
    return seconds


def add_scale(parser: ArgumentParser) -> None:
    """Add the option to start several processes of a kind in a separate service."""
    overview.add_scale(parser, "of the separate service, run N processes of this kind: {kinds}")


class Service:
    """A service that may be started and stopped repeatedly, with the same home and port."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._scale: dict[str, int] = {}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            # Empty values override those of a developer's .env.
            "DATABASE_URL": "", "REDIS_URL": "", "SECRET_KEY": "", "CREDENTIALS_KEYS": "",
            "ENVIRONMENT": "development",
            "HYPERVISOR_HOME": str(home), "HOST": "127.0.0.1", "PORT": str(self.port),
            "RATE_LIMIT_REGISTER": "1000/hour", "RATE_LIMIT_TOKEN": "1000/min",
            **environment,
        }  # fmt: skip
        self._log = home.with_suffix(".up.log")
        self._up: subprocess.Popen[bytes] | None = None

    def scale(self, numbers: Iterable[tuple[str, int]]) -> Self:
        """Let the next start run this many processes of each kind."""
        self._scale.update(numbers)
        return self

    @property
    def output(self) -> str:
        """Return the output of `up` since the last start."""
        return self._log.read_text()

    @property
    def up(self) -> "subprocess.Popen[bytes]":
        if self._up is None:
            raise RuntimeError("The service has not been started.")
        return self._up

    def start(self) -> None:
        """Start it and wait until it is ready. Raises RuntimeError if it ends."""
        if self._up:
            self._up.wait()
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                [sys.executable, "manage.py", "up", *self._scale_arguments()],
                cwd=settings.BASE_DIR, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        wait_until(self._is_ready, "`up` is ready", START_WITHIN_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it with a signal; return its exit status."""
        self.up.send_signal(number)
        return self.up.wait(60)

    def kill(self, kind: str, choose: Random | None = None) -> psutil.Process:
        """Wait until processes of this kind run, kill one of them with -9, and return it."""
        process = self.one_of(kind, choose)
        process.kill()
        process.wait(10)
        return process

    def one_of(self, kind: str, choose: Random | None = None) -> psutil.Process:
        """Wait until processes of this kind run, and return the first, or a random one."""
        wait_until(lambda: self._of_kind(kind), f"{kind} is running")
        found = self._of_kind(kind)
        return choose.choice(found) if choose else found[0]

    def is_back(self, kind: str, killed: psutil.Process) -> bool:
        """Return whether another process runs instead of one that was killed."""
        found = self._of_kind(kind)
        return len(found) >= self._scale.get(kind, 1) and killed not in found

    def processes(self) -> dict[str, psutil.Process]:
        """Return its child processes by their kinds, one of each."""
        return {kind: found[0] for kind, found in self._by_kind().items()}

    def cpu_s(self) -> dict[str, float]:
        """Return by kind how many seconds its processes have computed, also those that ended."""
        return {kind: sum(map(_cpu_s, found)) for kind, found in self._by_kind().items()}

    def family(self) -> list[psutil.Process]:
        """Return `up` and its descendants."""
        return [self._process(), *self._process().children(recursive=True)]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of manage.py on it; return the exit status and the output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=settings.BASE_DIR, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _scale_arguments(self) -> list[str]:
        return [word for kind, n in self._scale.items() for word in ("--scale", f"{kind}={n}")]

    def _of_kind(self, kind: str) -> list[psutil.Process]:
        return self._by_kind().get(kind, [])

    def _by_kind(self) -> dict[str, list[psutil.Process]]:
        found: dict[str, list[psutil.Process]] = {}
        for child in self._process().children():
            with suppress(psutil.Error):
                words = " ".join(child.cmdline())
                if kind := next((kind for mark, kind in _MARKS.items() if mark in words), ""):
                    found.setdefault(kind, []).append(child)
        return found

    def _process(self) -> psutil.Process:
        return psutil.Process(self.up.pid)

    def _is_ready(self) -> bool:
        if self.up.poll() is not None:
            raise RuntimeError(f"`up` ended:\n{self.output}")
        return "is ready after" in self.output
