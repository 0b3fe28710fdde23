"""The real processes of `manage.py up`, on a home and a port of their own, and a client."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from hypervisor import env
from hypervisor.bootstrap import ROOT
from hypervisor.home import free_port

START_WITHIN_S = 120
SETTLE_WITHIN_S = 60


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = SETTLE_WITHIN_S
) -> None:
    """Poll until it holds; an HTTP or connection error counts as "not yet"."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"Not within {seconds:.0f} s: {what}; last seen: {last!r}")


class Up:
    """A service that may be started, hurt and started again on the same home."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {k: v for k, v in os.environ.items() if k not in {s.name for s in env.SETTINGS}}
        self.environment = {
            **inherited,
            # Empty ones hide those of a developer's .env.
            "DATABASE_URL": "", "REDIS_URL": "", "SECRET_KEY": "",
            "HYPERVISOR_HOME": str(home), "HOST": "127.0.0.1", "PORT": str(self.port),
            "RATE_LIMIT_REGISTER": "1000/hour", "RATE_LIMIT_TOKEN": "1000/min",
            **settings,
        }  # fmt: skip
        self.output = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and return when it says that it is ready."""
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output = ""
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        wait_until(self._is_ready, "`up` says that it is ready", START_WITHIN_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit status."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return self._process.wait(60)

    def processes(self) -> dict[str, psutil.Process]:
        """Return its children by the name under which `up` speaks of them."""
        assert self._process is not None
        marks = {"postgres": "postgres", "valkey-server": "valkey", "gunicorn": "web"}
        found = {}
        for child in psutil.Process(self._process.pid).children():
            with suppress(psutil.Error):
                words = " ".join(child.cmdline())
                name = next((n for mark, n in marks.items() if mark in words), None)
                found[name or ("beat" if words.endswith("beat") else "worker")] = child
        return found

    def family(self) -> list[psutil.Process]:
        """Return `up` and everything under it."""
        assert self._process is not None
        up = psutil.Process(self._process.pid)
        return [up, *up.children(recursive=True)]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of manage.py as in another terminal."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, check=False,
            env={k: v for k, v in self.environment.items() if v},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.output += line

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"`up` ended:\n{self.output}")
        return "is ready after" in self.output


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


class Client:
    """Speaks JSON with the API as one user."""

    def __init__(self, url: str, username: str) -> None:
        self._url = url
        self._token = ""
        self.post("/register", username=username, password="correct horse battery")
        answer = self.post("/token", username=username, password="correct horse battery")
        self._token = answer["access_token"]

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._call("POST", path, body)

    def deploy(self, name: str, **body: Any) -> int:
        """Submit a deployment; return its id."""
        defaults = {"image": "ml/train:1", "cpu": 1, "ram_mib": 1024}
        return int(self.post("/deployments", name=name, **(defaults | body))["id"])

    def status(self, deployment: int) -> str:
        return str(self.get(f"/deployments/{deployment}")["status"])

    def wait_for(self, deployment: int, status: str) -> None:
        wait_until(lambda: self.status(deployment) == status, f"{deployment} is {status}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            error.add_note(f"{method} {path}: {error.read().decode()}")
            raise
