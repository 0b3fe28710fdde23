"""HYPERVISOR_HOME: the files of a one-machine service, and the lock of the `up` that uses it."""

import fcntl
import json
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from hypervisor.standalone.bootstrap import ROOT

PATIENCE_S = 15.0
"""How long the processes of a killed `up` may take to end before they are killed."""


class HomeInUseError(Exception):
    """Another `up` uses this home; the message names its process and the remedy."""


def given(name: str) -> str:
    """Return a setting from the process environment, else from .env, else "".

    An empty variable of the process environment hides the value in .env.
    """
    return os.environ.get(name, dotenv_values(ROOT / ".env").get(name)) or ""


class Home:
    """A folder of mode 0700 with `env` (for other terminals), `state.json`, data and logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = path / "env"
        self.logs = path / "logs"
        self.admin_password = path / "admin-password"

    @classmethod
    def current(cls) -> "Home":
        return cls(ROOT / (given("HYPERVISOR_HOME") or ".hypervisor"))

    def create(self) -> None:
        for folder in (self.path, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def write_env(self, values: Mapping[str, str]) -> None:
        lines = ["# `manage.py up` writes this file at every start, for the other commands.\n"]
        write_private(self.env, "".join([*lines, *(f"{k}={v}\n" for k, v in values.items())]))

    def _store(self, key: str, value: Any) -> None:
        write_private(self.path / "state.json", json.dumps({**self._state(), key: value}, indent=1))

    def secret(self, name: str) -> str:
        """Return a random text of 43 characters, the same at every start."""
        key = f"{name}_secret"
        if key not in self._state():
            self._store(key, secrets.token_urlsafe(32))
        return str(self._state()[key])

    def port(self, name: str) -> int:
        """Return a free port of 127.0.0.1, the same as last time if it is still free."""
        kept = int(self._state().get(f"{name}_port", 0))
        port = kept if kept and is_free(kept) else free_port()
        if port != kept:
            self._store(f"{name}_port", port)
        return port

    def _state(self) -> dict[str, Any]:
        file = self.path / "state.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    # --- The lock ---------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Return whether an `up` uses this home now."""
        try:
            with (self.path / "up.lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def lock(self) -> int:
        """Lock this home until this process ends; return a descriptor for its children to inherit.

        There are two locks: the supervisor's, and one that its children inherit. A process with
        both locks may remove files of an earlier `up`, because no process of that one is left.
        Raises HomeInUseError.
        """
        own = _open(self.path / "up.lock")
        if not _wait_for_lock(own, 0.5):  # an `up` killed a moment ago may still be ending
            raise HomeInUseError(
                f"{self.path} is in use by another `up` (process {os.pread(own, 20, 0).decode()})."
                " Stop that one, or set HYPERVISOR_HOME to another folder for a second service."
            )
        os.truncate(own, 0)
        os.pwrite(own, str(os.getpid()).encode(), 0)
        inherited = _open(self.path / "processes.lock")
        self._end_predecessors(inherited)
        return inherited

    def _end_predecessors(self, lock: int) -> None:
        """Wait until the processes of an earlier, killed `up` have ended, and finally kill them."""
        if _wait_for_lock(lock, PATIENCE_S):
            return
        for process in _holders(self.path / "processes.lock"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not _wait_for_lock(lock, PATIENCE_S):
            raise HomeInUseError(
                f"Processes of an earlier `up` on {self.path} are still running: stop them."
            )


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def write_private(file: Path, text: str) -> None:
    """Write a file atomically that only its owner can read."""
    new = file.with_name(f"{file.name}.new")
    with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(text)
    new.replace(file)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)  # flock() takes no deadline
    return True


def _holders(file: Path) -> Iterator[int]:
    """Yield the ids of the other processes that have the file open (Linux)."""
    target = file.resolve()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            process = link.parts[2]
            if link.readlink() == target and process != str(os.getpid()):
                yield int(process)
