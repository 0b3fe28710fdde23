"""The interface of all engines, in plain values.

Each verb is idempotent and returns soon. Reconcile compares `observe` with the desired state, and
calls the verbs again until both agree. A container is identified by its uid, which is drawn at
random for each launch. Run ids repeat after a database is restored; uids never do.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Phase(StrEnum):
    """PREPARING: accepted but not running yet, for example while its image is being pulled."""

    PREPARING = "preparing"
    RUNNING = "running"
    EXITED = "exited"


class Cause(StrEnum):
    """Why a container did not start or why it ended, in one vocabulary for all engines.

    Only FETCHING_IMAGE is not a failure: the start succeeds once the image is there, which may take
    long for a large image.
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
    NO_STORAGE_LIMIT = "no_storage_limit"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_STORAGE = "out_of_storage"
    KILLED = "killed"
    ENGINE_EVICTED = "engine_evicted"
    NODE_LOST = "node_lost"
    NODE_REFUSED = "node_refused"

    @property
    def is_engines(self) -> bool:
        """Whether the engine caused it; such an ending does not count as an attempt."""
        return self in _ENGINES


_ENGINES = {
    Cause.UNREACHABLE, Cause.ENGINE_FAILED, Cause.ENGINE_EVICTED, Cause.NODE_LOST,
    Cause.NODE_REFUSED,
}  # fmt: skip


def uid_by_run(run_id: int) -> UUID:
    """Return the uid of a container that has only its run's id.

    Releases before container uids created such containers. No random UUID equals such a uid.
    """
    return UUID(int=run_id)


def run_by_uid(uid: UUID) -> int | None:
    """Return the run's id if the uid comes from `uid_by_run`, None otherwise."""
    return None if uid.version else uid.int


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """The log-in to a registry, "docker.io" for images whose names contain none."""

    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user that a container's processes run as; 0 is root.

    Without a `gid`, the group is the one that the image gives this user, or 0.
    """

    uid: int
    gid: int | None = None

    @property
    def is_root(self) -> bool:
        return self.uid == 0


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to start; cpu in millicores, RAM in MiB, GPU in devices.

    `env` are its plain variables, `secrets` those whose values only the container may see: an
    engine that describes containers to others must keep them out of the description. `login` is for
    pulling the image, None if its organization has none for its registry. `run_as` is None for the
    image's own user. `ephemeral_storage_mib` limits what its files and output may use of its node's
    disk, None for no limit; an engine that cannot enforce it refuses the start. `devices` are the
    ids of its `gpu` GPUs, or empty if the engine chooses them. `node` is the name of the node that
    it has to run on, "" if the engine has only one or chooses it. `run_id` is only a label for
    people.
    """

    uid: UUID
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    cpu_milli: int
    ram_mib: int
    gpu: int
    devices: tuple[str, ...] = ()
    node: str = ""
    run_id: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: RegistryLogin | None = None
    run_as: RunAs | None = None
    ephemeral_storage_mib: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """All variables, for engines that do not keep secrets apart."""
        return {**self.env, **self.secrets}


@dataclass(frozen=True, slots=True)
class Observation:
    """One container as the engine reports it now.

    `cause` is set if the container could not start, or ended other than by its own exit; `message`
    then has the remedy. `lacks` are the dimensions (`cpu_milli`, `ram_mib`, `gpu`) of which its
    node has too little, if the node refused it for that. `until` is when the container exits at the
    latest, None if that is not known. `devices` are the ids of its GPUs, `node` is the name of its
    node if the engine reports its nodes. `name`, `image`, `command` and `run_id` are the
    engine's information for people.
    """

    uid: UUID
    phase: Phase
    exit_code: int | None = None
    cause: Cause | None = None
    message: str = ""
    lacks: tuple[str, ...] = ()
    until: datetime | None = None
    started_at: datetime | None = None
    exited_at: datetime | None = None
    devices: tuple[str, ...] = ()
    node: str = field(default="", compare=False)
    run_id: int = field(default=0, compare=False)
    name: str = field(default="", compare=False)
    image: str = field(default="", compare=False)
    command: tuple[str, ...] = field(default=(), compare=False)


class NodeState(StrEnum):
    """LOST: its state is unknown, because the engine has no contact with it."""

    ACTIVE = "active"
    CORDONED = "cordoned"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node as the engine reports it now; cpu in millicores, RAM in MiB, GPU in devices.

    The amounts are what containers of this connection may use in total: `foreign` is already
    subtracted, the amounts, in the same order, that the engine has given to others. `message` says
    why the node is not active. `selected` is whether the connection's node selector matches it.
    """

    name: str
    cpu_milli: int
    ram_mib: int
    gpu: int
    foreign: tuple[int, int, int] = (0, 0, 0)
    labels: Mapping[str, str] = field(default_factory=dict)
    state: NodeState = NodeState.ACTIVE
    message: str = ""
    selected: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """An engine's description; cpu in millicores, RAM in MiB, GPU in devices.

    `engine_id` is the same for all endpoints of the same engine. `devices` are the ids of its GPUs
    if the reconciler chooses them. `warnings` are sentences for the operator who connects it.
    `nodes` are the engine's nodes, None if it does not report any. `can_limit_storage` is false if
    it certainly cannot enforce a limit of ephemeral storage.
    """

    engine_id: str
    version: str
    cpu_milli: int
    ram_mib: int
    gpu: int
    devices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    nodes: tuple[NodeReport, ...] | None = None
    can_limit_storage: bool = True


class DriverError(Exception):
    """The engine refused or failed; `retriable` if the same call may succeed later."""

    def __init__(
        self, message: str, *, retriable: bool, cause: Cause = Cause.ENGINE_FAILED
    ) -> None:
        super().__init__(message)
        self.retriable = retriable
        self.cause = cause


NO_ACCESS = (
    "correct `image`, or let an admin of the organization store or correct the log-in to its"
    " registry (`/registries`)"
)
"""The remedy for an image that does not exist or may not be pulled."""


class Driver(Protocol):
    """An engine. Every verb may raise DriverError."""

    def probe(self) -> Probe:
        """Return the engine's identity and amounts, with warnings."""

    def nodes(self) -> Sequence[NodeReport] | None:
        """Return the engine's nodes, None if it does not report any.

        Without reports, a cluster has the nodes that people have given it.
        """

    def warnings(self) -> Sequence[str]:
        """Return why the last reports of `nodes` may be incomplete or old, with the remedy."""

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        """Start the container unless it already exists."""

    @property
    def starts_at_once(self) -> int:
        """How many containers one call of `start_all` may contain, at least 1."""

    def start_all(
        self, specs: Sequence[ContainerSpec], now: datetime
    ) -> Sequence[DriverError | None]:
        """Start these containers at the same time; return the error of each, None if it has none.

        They are recorded as launched when it is called, so it must call the engine for each at
        once, without a queue.
        """

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        """Ask the container to stop, and have it killed after the grace; return without waiting."""

    def observe(self, now: datetime) -> list[Observation]:
        """Return all containers of this connection on the engine, and no others."""

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        """Yield the container's output in pieces: its last `tail` lines, or all of it.

        With `follow`, until the container ends, and b"" now and then while it is silent, so that
        the caller can check whether its client is still connected. Yields nothing if there is no
        such container.
        """

    def remove(self, uid: UUID) -> None:
        """Remove an exited container, if it exists."""

    def markers(self) -> frozenset[UUID] | None:
        """Return the connection's markers on the engine; None if the engine cannot keep any.

        There is one, none on a new engine, or two while one replaces the other.
        """

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        """Put a marker on the engine, and then remove the markers `instead_of`."""

    def watch(self) -> Iterator[None]:
        """Yield whenever a container of this connection may have changed; end with the engine's
        stream.

        It only makes the next reconcile come sooner: `observe` finds every change that it misses.
        For an engine that does not report changes it ends at once.
        """
