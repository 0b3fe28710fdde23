"""A container as a process of this machine, in its own session and limited in memory."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_READ = 1 << 16


class NotStarted(Exception):
    """The command cannot be run."""


class Process:
    """`context` is the container's securityContext, whose user applies if this process is root."""

    def __init__(
        self,
        args: list[str],
        env: dict[str, str],
        memory: int,
        log: Path,
        context: Mapping[str, Any],
    ) -> None:
        self.log = log
        self.log.touch()
        self._memory = memory
        self.out_of_memory = False
        try:
            with self.log.open("wb") as out:
                self._popen = subprocess.Popen(
                    args, env={"PATH": os.environ["PATH"], **env}, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **_user(context),
                )  # fmt: skip
        except OSError as error:
            raise NotStarted(
                "failed to create containerd task: OCI runtime create failed: runc create failed:"
                f' exec: "{args[0]}": executable file not found in $PATH'
            ) from error

    def exit_code(self) -> int | None:
        """Return the exit code as container runtimes report it; None while the process runs."""
        code = self._popen.poll()
        if code is None:
            self._limit()
            return None
        self.kill()
        return 128 - code if code < 0 else code

    def terminate(self) -> None:
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def reap(self) -> None:
        self.kill()
        self._popen.wait()

    def _limit(self) -> None:
        """Kill the process like the kernel, if it and its children use more memory than allowed."""
        try:
            process = psutil.Process(self._popen.pid)
            used = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
        except psutil.Error:
            return
        if used > self._memory:
            self.out_of_memory = True
            self.kill()


def _user(context: Mapping[str, Any]) -> dict[str, Any]:
    if "runAsUser" not in context or os.geteuid():
        return {}
    group = context.get("runAsGroup", 0)
    return {"user": context["runAsUser"], "group": group, "extra_groups": []}


def output(log: Path, tail: int | None) -> bytes:
    text = log.read_bytes() if log.exists() else b""
    return (
        text if tail is None else b"".join(text.splitlines(keepends=True)[-tail:] if tail else [])
    )


def follow(log: Path, offset: int, ended: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the output after the offset, b"" while there is none, until the process has ended."""
    with log.open("rb") as lines:
        lines.seek(offset)
        while True:
            last = ended()
            if piece := lines.read(_READ):
                yield piece
            elif last:
                return
            else:
                yield b""
                time.sleep(0.02)
