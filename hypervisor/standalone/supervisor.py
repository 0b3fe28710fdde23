"""Runs services: all up in order, each one that dies again, all down in reverse order."""

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
    """One service's place: its process, and when and how patiently it is started again."""

    process: Process
    due: float | None = None
    delay_s: float = _FIRST_DELAY_S


class Stopped(BaseException):
    """A signal asked us to stop."""


class Supervisor:
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._slots: list[_Slot] = []

    def start(self, *services: Service) -> None:
        """Start them at the same time and return when all are ready. Raises StartError."""
        slots = []
        for service in services:
            slots.append(_Slot(Process(service)))
            self._slots.append(slots[-1])
        for slot in slots:
            slot.process.wait_until_ready()

    def watch(self) -> None:
        """Start again whatever dies, until Stopped is raised by a signal."""
        with _child_signals() as wait:
            while True:
                now = time.monotonic()
                for slot in self._slots:
                    self._attend(slot, now)
                dues = [slot.due for slot in self._slots if slot.due is not None]
                wait(max(0.0, min(dues) - time.monotonic()) if dues else None)

    def stop(self) -> None:
        """Stop all of them, the last started first, each one waited for."""
        while self._slots:
            self._slots.pop().process.stop()

    def _attend(self, slot: _Slot, now: float) -> None:
        service = slot.process.service
        slot.process.attend_log()
        if slot.due is None and (ended := slot.process.exit_status()):
            slot.process.kill()
            if now - slot.process.started > _STABLE_AFTER_S:
                slot.delay_s = _FIRST_DELAY_S
            slot.due = now + slot.delay_s
            self._tell(
                f"{service.name} {ended}; starting it again in {slot.delay_s:g} s"
                f" (its log: {service.log})"
            )
            slot.delay_s = min(2 * slot.delay_s, _LONGEST_DELAY_S)
        elif slot.due is not None and slot.due <= now:
            slot.process, slot.due = Process(service), None
            self._tell(f"{service.name} has been started again (process {slot.process.pid})")


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP raise Stopped within; afterwards they are ignored."""
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
    """Yield a function that waits until a child has ended or the given seconds have passed."""
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
