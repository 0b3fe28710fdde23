"""What every engine can do for us, in plain values.

Each verb is idempotent and returns soon; reconcile compares `observe` with what should be and
calls again until they agree. A container is known by its uid, which is drawn at random for each
launch. Ids of runs come back when a database is restored, and a uid never does.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Phase(StrEnum):
    """PREPARING: accepted, but not running yet (its image is fetched, its node is chosen)."""

    PREPARING = "preparing"
    RUNNING = "running"
    EXITED = "exited"


class Cause(StrEnum):
    """Why a container did not start or came to its end: one vocabulary for all engines.

    FETCHING_IMAGE alone is no failure: the start succeeds as soon as the image is there, which may
    take as long as a large one does.
    """

    FETCHING_IMAGE = "fetching_image"
    UNREACHABLE = "engine_unreachable"
    ENGINE_FAILED = "engine_failed"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_NOT_PULLABLE = "image_not_pullable"
    COMMAND_NOT_FOUND = "command_not_found"
    INVALID_SPEC = "invalid_spec"
    OVER_CAPACITY = "over_capacity"
    NO_DEVICE = "no_device"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    ENGINE_EVICTED = "engine_evicted"
    NODE_LOST = "node_lost"

    @property
    def is_engines(self) -> bool:
        """Whether the engine is to blame: such an ending is no try of the user's."""
        return self in _ENGINES


_ENGINES = {
    Cause.UNREACHABLE, Cause.ENGINE_FAILED, Cause.ENGINE_EVICTED, Cause.NODE_LOST,
}  # fmt: skip


def uid_by_run(run_id: int) -> UUID:
    """Return the uid of a container that is known by its run's id alone.

    Releases before container uids made such containers. No random UUID looks like this.
    """
    return UUID(int=run_id)


def run_by_uid(uid: UUID) -> int | None:
    """Return the run's id of such a container, None for all others."""
    return None if uid.version else uid.int


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to start; cpu in millicores, RAM in MiB, GPU in devices.

    `devices` are the ids of the GPUs that are its own, on engines where we choose them: as many
    as `gpu` says, or none where the engine chooses. `run_id` is only a label, for people.
    """

    uid: UUID
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    cpu_milli: int
    ram_mib: int
    gpu: int
    devices: tuple[str, ...] = ()
    run_id: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One container as the engine sees it now.

    `cause` is set when it could not start, or ended by anything but its own exit; `message` then
    says what to do. `until` is when the engine already knows that it will exit, None when it does
    not know. `devices` are the ids of the GPUs that it holds. `name`, `image`, `command` and
    `run_id` are what the engine says of it, for people.
    """

    uid: UUID
    phase: Phase
    exit_code: int | None = None
    cause: Cause | None = None
    message: str = ""
    until: datetime | None = None
    started_at: datetime | None = None
    exited_at: datetime | None = None
    devices: tuple[str, ...] = ()
    run_id: int = field(default=0, compare=False)
    name: str = field(default="", compare=False)
    image: str = field(default="", compare=False)
    command: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Probe:
    """What an engine says of itself; cpu in millicores, RAM in MiB, GPU in devices.

    `engine_id` is the same for every way to reach the same engine. `devices` are the ids of its
    GPUs where we choose them. `warnings` are sentences for the operator who connects it.
    """

    engine_id: str
    version: str
    cpu_milli: int
    ram_mib: int
    gpu: int
    devices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class DriverError(Exception):
    """The engine refused; `retriable` says whether the same call may succeed later."""

    def __init__(
        self, message: str, *, retriable: bool, cause: Cause = Cause.ENGINE_FAILED
    ) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.cause = cause


class Driver(Protocol):
    """An engine. Every verb raises DriverError."""

    def probe(self) -> Probe:
        """Return what the engine is and has."""

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        """Start the container unless it is there already."""

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        """Ask the container to stop and have it killed after the grace; returns before that."""

    def observe(self, now: datetime) -> list[Observation]:
        """Return every container of ours on the engine, those of other installations left out."""

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield what the container wrote, in pieces: its last `tail` lines, or all of it.

        With `follow` until it ends, and b"" now and then while it is silent, so that the caller
        can see whether anybody still listens. Nothing is yielded when there is no such container.
        """

    def remove(self, uid: UUID) -> None:
        """Forget an exited container; nothing happens when there is none."""

    def markers(self) -> frozenset[UUID] | None:
        """Return the connection's markers on the engine; None where it cannot keep any.

        There is one, or none on a new engine, or two while one takes the other's place.
        """

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        """Put a marker on the engine, and then take those away that it replaces."""

    def watch(self) -> Iterator[None]:
        """Yield whenever a container of ours may have changed; end when the engine hangs up.

        A hint that makes the next look come sooner: whatever it misses, `observe` finds. An engine
        that has nothing to say of itself ends at once.
        """
