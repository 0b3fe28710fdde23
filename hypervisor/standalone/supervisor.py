"""Starts services in order, restarts each one that dies, and stops them in reverse order."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from hypervisor.standalone.process import Process, Service

_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 30.0
_STABLE_AFTER_S = 60.0


@dataclass(slots=True)
class _Slot:
    """A service's process, the time when it is due to be restarted, and the next delay."""

    process: Process
    due: float | None = None
    delay_s: float = _FIRST_DELAY_S


class Stopped(BaseException):
    """A signal asks this process to stop."""


class Supervisor:
    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._slots: list[_Slot] = []

    def start(self, *services: Service) -> None:
        """Start the services at the same time; return when all are ready. Raises StartError."""
        slots = []
        for service in services:
            slots.append(_Slot(Process(service)))
            self._slots.append(slots[-1])
        for slot in slots:
            slot.process.wait_until_ready()

    def watch(self) -> None:
        """Restart every service that dies, until a signal raises Stopped."""
        with _child_signals() as wait:
            while True:
                now = time.monotonic()
                for slot in self._slots:
                    self._check(slot, now)
                dues = [slot.due for slot in self._slots if slot.due is not None]
                wait(max(0.0, min(dues) - time.monotonic()) if dues else None)

    def stop(self) -> None:
        """Stop one service after the other, the last started first."""
        while self._slots:
            self._slots.pop().process.stop()

    def _check(self, slot: _Slot, now: float) -> None:
        service = slot.process.service
        slot.process.ensure_log_writer()
        if slot.due is None and (ended := slot.process.exit_status()):
            slot.process.kill()
            if now - slot.process.started > _STABLE_AFTER_S:
                slot.delay_s = _FIRST_DELAY_S
            slot.due = now + slot.delay_s
            self._report(
                f"{service.name} {ended}; it is restarted in {slot.delay_s:g} s"
                f" (log: {service.log})"
            )
            slot.delay_s = min(2 * slot.delay_s, _LONGEST_DELAY_S)
        elif slot.due is not None and slot.due <= now:
            slot.process, slot.due = Process(service), None
            self._report(f"{service.name} was restarted (process {slot.process.pid})")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise Stopped in the block; after the first, ignore them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _frame: FrameType | None) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(signal.Signals(number).name)

    for number in numbers:
        signal.signal(number, stop)
    yield


@contextmanager
def _child_signals() -> Iterator[Callable[[float | None], None]]:
    """Yield a function that waits until a child ends or the given seconds have passed."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wait(seconds: float | None) -> None:
        if select.select([reader], [], [], seconds)[0]:
            os.read(reader, 4096)

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)
        os.close(reader)
        os.close(writer)
