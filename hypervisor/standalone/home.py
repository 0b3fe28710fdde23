"""HYPERVISOR_HOME: what a one-machine service keeps, and who has it in use."""

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
"""How long the processes of an `up` that was killed may take to end by themselves."""


class HomeInUseError(Exception):
    """Another `up` runs on this home; the message says which and what to do."""


def given(name: str) -> str:
    """Return a setting from the process environment, or else from .env, or else "".

    An empty one in the process environment hides the one in .env.
    """
    return os.environ.get(name, dotenv_values(ROOT / ".env").get(name)) or ""


class Home:
    """A folder with `env` (for other terminals), `state.json`, data and logs, all of mode 0700."""

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
        lines = ["# Written by `manage.py up` for the other commands, at every start.\n"]
        write_private(self.env, "".join([*lines, *(f"{k}={v}\n" for k, v in values.items())]))

    def remember(self, key: str, value: Any) -> None:
        write_private(self.path / "state.json", json.dumps({**self._state(), key: value}, indent=1))

    def secret(self, name: str) -> str:
        """Return a random text of 43 characters, the same one every time."""
        key = f"{name}_secret"
        if key not in self._state():
            self.remember(key, secrets.token_urlsafe(32))
        return str(self._state()[key])

    def port(self, name: str) -> int:
        """Return a free port of 127.0.0.1, the same one as last time if nobody has taken it."""
        kept = int(self._state().get(f"{name}_port", 0))
        port = kept if kept and is_free(kept) else free_port()
        if port != kept:
            self.remember(f"{name}_port", port)
        return port

    def _state(self) -> dict[str, Any]:
        file = self.path / "state.json"
        return dict(json.loads(file.read_text())) if file.exists() else {}

    # --- Who has it in use ------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Whether an `up` has this home in use now."""
        try:
            with (self.path / "up.lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def lock(self) -> int:
        """Take this home until this process ends; return a descriptor for its children to inherit.

        Two locks: the supervisor's own, and one that lives in its children, so that whoever holds
        both knows that no process of an earlier `up` is left, and may remove what it left behind.
        Raises HomeInUseError.
        """
        own = _open(self.path / "up.lock")
        if not _wait_for_lock(own, 0.5):  # one that was killed a moment ago may still be ending
            raise HomeInUseError(
                f"{self.path} is in use by another `up` (process {os.pread(own, 20, 0).decode()})."
                " Stop that one, or set HYPERVISOR_HOME to another folder for a second service."
            )
        os.truncate(own, 0)
        os.pwrite(own, str(os.getpid()).encode(), 0)
        inherited = _open(self.path / "processes.lock")
        self._outlive_predecessors(inherited)
        return inherited

    def _outlive_predecessors(self, lock: int) -> None:
        """Wait for what an earlier `up` that was killed has left, and in the end kill it."""
        if _wait_for_lock(lock, PATIENCE_S):
            return
        for process in _holders(self.path / "processes.lock"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if not _wait_for_lock(lock, PATIENCE_S):
            raise HomeInUseError(
                f"Processes of an earlier `up` on {self.path} are still there: stop them."
            )


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def write_private(file: Path, text: str) -> None:
    """Replace a file by one that only its owner can read, at once or not at all."""
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
        time.sleep(0.05)  # flock() itself knows no deadline
    return True


def _holders(file: Path) -> Iterator[int]:
    """Yield the processes, other than this one, that have the file open (Linux)."""
    target = file.resolve()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            process = link.parts[2]
            if link.readlink() == target and process != str(os.getpid()):
                yield int(process)
