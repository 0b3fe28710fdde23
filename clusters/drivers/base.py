"""What every engine can do for us, in plain values.

Each verb is idempotent and returns at once; reconcile compares `observe` with what should be and
calls again until they agree. A container is known by the id of its run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Phase(StrEnum):
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to start; cpu in millicores, RAM in MiB, GPU in devices."""

    run_id: int
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    cpu_milli: int
    ram_mib: int
    gpu: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One container as the engine sees it now.

    `until` is when the engine already knows that it will exit, None when it does not know.
    """

    run_id: int
    phase: Phase
    exit_code: int | None = None
    until: datetime | None = None


class DriverError(Exception):
    """The engine refused; `retriable` says whether the same call may succeed later."""

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


class Driver(Protocol):
    def start(self, spec: ContainerSpec, now: datetime) -> None:
        """Start the container unless it is there already. Raises DriverError."""

    def stop(self, run_id: int, grace_seconds: int, now: datetime) -> None:
        """Ask the container to stop and have it killed after the grace. Raises DriverError."""

    def observe(self, now: datetime) -> list[Observation]:
        """Return every container of ours on the engine. Raises DriverError."""

    def remove(self, run_id: int) -> None:
        """Forget an exited container; nothing happens when there is none. Raises DriverError."""
