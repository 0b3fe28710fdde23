"""A child process in its own process group, which gets a signal when its parent dies."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES = 10 * 1024 * 1024
LOGS_KEPT = 5
"""The maximum size of a process's log file, and the number of older files kept."""

_PR_SET_PDEATHSIG = 1
_LOG_FILE = Path(__file__).with_name("log_file.py")
_DRAIN_S = 5.0
_libc = ctypes.CDLL(None)


class StartError(Exception):
    """A process did not get ready; the message contains the end of its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """What to run, how to check that it is ready, and how to stop it."""

    name: str
    command: Sequence[str]
    log: Path
    is_ready: Callable[[], bool]
    before_start: Callable[[], None] = lambda: None
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10
    ready_within_s: float = 180


class Process:
    """A running service.

    Create it in the main thread: Linux signals the process when the creating *thread* ends.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        self.started = time.monotonic()
        service.before_start()
        service.log.touch()
        self._output, writer = os.pipe()
        try:
            self._log = self._write_log()
            self._popen = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.STDOUT,
                env={**os.environ, **service.environment},
                pass_fds=service.descriptors,
                process_group=0,
                preexec_fn=_signal_when_parent_dies(service.stop_signal),
            )
        finally:
            os.close(writer)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def exit_status(self) -> str | None:
        """Return in words how the process ended, or None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    def ensure_log_writer(self) -> None:
        """Restart the log writer if it has ended, because a full pipe would block the process."""
        if self._log.poll() is not None and self.exit_status() is None:
            self._log = self._write_log()

    def wait_until_ready(self) -> None:
        """Return when the process is ready. Raises StartError if it dies or takes too long."""
        deadline = self.started + self.service.ready_within_s
        while not self.service.is_ready():
            ended = self.exit_status()
            if ended or time.monotonic() > deadline:
                self.kill()
                problem = ended or f"was not ready within {self.service.ready_within_s:.0f} s"
                raise StartError(f"{self.service.name} {problem}.\n{self._last_lines()}")
            time.sleep(0.05)  # another program does not report when it is ready

    def stop(self) -> None:
        """Ask the process to stop, wait for its grace period, then kill what is left of it."""
        if self.exit_status() is None:
            self._popen.send_signal(self.service.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self.service.grace_s)
        self.kill()

    def kill(self) -> None:
        """Kill the process and every descendant in its group; return after it has been reaped."""
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a zombie's group
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        try:
            self._log.wait(_DRAIN_S)
        except subprocess.TimeoutExpired:  # a descendant has left the group and still runs
            self._log.kill()
            self._log.wait()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _write_log(self) -> "subprocess.Popen[bytes]":
        """Start the log writer, which outlives this process until it has written the last line."""
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LOG_FILE), str(self.service.log),
             str(LOG_BYTES), str(LOGS_KEPT)],
            stdin=self._output, pass_fds=self.service.descriptors, process_group=0,
        )  # fmt: skip

    def _last_lines(self, count: int = 12) -> str:
        lines = self.service.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join([f"The end of {self.service.log}:", *(f"    {line}" for line in lines)])


def _signal_when_parent_dies(number: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    return lambda: _libc.prctl(_PR_SET_PDEATHSIG, int(number))
