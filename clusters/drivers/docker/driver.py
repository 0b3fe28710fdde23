"""The Docker driver: each verb is a few calls to the engine."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from threading import Lock
from typing import Any
from uuid import UUID

from docker import APIClient
from docker.errors import APIError, ImageNotFound, NotFound

from clusters.drivers.base import Cause, ContainerSpec, DriverError, Observation, Probe
from clusters.drivers.docker import containers, labels, markers, networks, output, probing, reading
from clusters.drivers.docker.client import connect
from clusters.drivers.docker.endings import EngineEvents
from clusters.drivers.docker.errors import NO_STORAGE_LIMITS, translated
from clusters.drivers.docker.pulls import Pulls
from clusters.drivers.starts import StartsInThreads
from clusters.models import Connection
from clusters.wakeups import request_at_once
from hypervisor.base.secrets import CannotDecrypt

_NOT_FOUND, _CONFLICT = 404, 409
_MIB = 2**20


class DockerDriver(StartsInThreads):
    """One engine. The attributes only save calls: all state is on the engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uid = connection.uid
        self._idle: list[APIClient] = []
        self._pulls = Pulls(
            str(self._uid), self._connect, lambda: request_at_once(connection.wakeup)
        )
        self._has_mib = 0
        # An engine may make two networks of one name for threads that ask at the same time.
        self._network = Lock()
        self._running: dict[str, Mapping[str, Any]] = {}

    def probe(self) -> Probe:
        with self._engine() as engine:
            return probing.probe(engine, self._connection)

    def nodes(self) -> None:
        return None

    def warnings(self) -> tuple[str, ...]:
        return ()

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        with self._engine() as engine:
            there = self._find(engine, spec.uid)
            if there and there["State"] != "created":
                return
            self._start(engine, there["Id"] if there else self._create(engine, spec))

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        with self._engine() as engine:
            there = self._find(engine, uid)
            if there is None or there["State"] in reading.ENDED:
                return
            wanted = now + timedelta(seconds=grace_seconds)
            asked = labels.deadline_of(there)
            if min(asked or wanted, wanted) <= now:
                self._signal(engine, there, "SIGKILL")
            elif asked is None:
                config = engine.inspect_container(there["Id"])["Config"]
                self._signal(engine, there, config.get("StopSignal") or "SIGTERM")
            if asked is None:
                # The name records the deadline, so that no worker asks again or kills too early.
                engine.rename(there["Id"], labels.name_until(there, wanted))

    def observe(self, now: datetime) -> list[Observation]:
        with self._engine() as engine:
            found = engine.containers(all=True, filters=labels.label_filter(self._uid))
            listed = [container for container in found if labels.uid_of(container)]
            self._prune({container["Id"] for container in listed})
            ended = [c for c in listed if c["State"] in reading.ENDED]
            there = [self._observe(engine, c) for c in listed if c not in ended]
            return [o for o in there if o] + self._observe_ended(engine, ended)

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        with self._engine() as engine:
            there = self._find(engine, uid)
            if there is None or there["State"] == "created":
                return
        # A separate client, because a caller may follow the output for hours.
        with translated(), closing(self._connect()) as own:
            yield from output.read(own, there["Id"], tail=tail, follow=follow)

    def remove(self, uid: UUID) -> None:
        with self._engine() as engine:
            if there := self._find(engine, uid):
                self._remove(engine, there["Id"])

    def markers(self) -> frozenset[UUID]:
        with self._engine() as engine:
            return markers.present(engine, self._uid)

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        with self._engine() as engine:
            markers.put(engine, self._uid, marker)
            for former in instead_of:
                markers.remove(engine, self._uid, former)

    def watch(self) -> Iterator[None]:
        filters = labels.label_filter(self._uid) | {
            "type": "container",
            "event": ["start", "die", "destroy"],
        }
        with translated(), closing(self._connect()) as own:
            for _ in own.events(filters=filters, decode=True):
                yield

    # --- Steps ------------------------------------------------------------------------------------

    def _create(self, engine: APIClient, spec: ContainerSpec) -> str:
        """Create a container, which does not run yet, and return its id."""
        self._check_capacity(engine, spec)
        with self._network:
            network = networks.mode_of(engine, self._connection)
        try:
            made = engine.create_container(**containers.settings(engine, spec, self._uid, network))
        except ImageNotFound:
            self._pulls.pull(spec.image, spec.login)
            raise
        return str(made["Id"])

    def _check_capacity(self, engine: APIClient, spec: ContainerSpec) -> None:
        """Raise DriverError for amounts that Docker accepts but the machine does not have."""
        self._has_mib = self._has_mib or engine.info()["MemTotal"] // _MIB
        if spec.ram_mib > self._has_mib:
            raise DriverError(
                f"The engine has {self._has_mib} MiB of RAM, but `ram_mib` requests"
                f" {spec.ram_mib}: request less.",
                retriable=False,
                cause=Cause.OVER_CAPACITY,
            )
        if spec.ephemeral_storage_mib is not None and not probing.can_limit_storage(engine.info()):
            raise DriverError(NO_STORAGE_LIMITS, retriable=False, cause=Cause.NO_STORAGE_LIMIT)
        if spec.gpu != len(spec.devices):
            raise DriverError(
                f"The deployment requests {spec.gpu} GPUs, but was assigned {len(spec.devices)}: an"
                " operator has to list the engine's GPUs in the cluster's connection.",
                retriable=False,
                cause=Cause.NO_DEVICE,
            )

    def _start(self, engine: APIClient, container: str) -> None:
        try:
            engine.start(container)
        except APIError:
            # Otherwise the container would stay on the engine in the state `created`.
            with suppress(APIError):
                self._remove(engine, container, force=True)
            raise

    def _signal(self, engine: APIClient, container: Mapping[str, Any], name: str) -> None:
        try:
            engine.kill(container["Id"], signal=name)
        except APIError as error:
            # The container has ended since it was listed.
            if not _is(error, _CONFLICT, _NOT_FOUND):
                raise

    def _remove(self, engine: APIClient, container: str, *, force: bool = False) -> None:
        try:
            engine.remove_container(container, v=True, force=force)
        except NotFound:
            return
        except APIError as error:
            if not (_is(error, _CONFLICT) and "already in progress" in str(error.explanation)):
                raise

    def _observe(self, engine: APIClient, listed: Mapping[str, Any]) -> Observation | None:
        if listed["State"] == "removing":
            return None
        if listed["State"] == "created":
            return self._remove_unstarted(engine, listed)
        # Inspected only once, because the start time does not change while the container runs.
        inspected = self._running.get(listed["Id"]) or self._inspect(engine, listed["Id"])
        if inspected is None:
            return None
        self._running[listed["Id"]] = inspected
        return reading.running(listed, inspected)

    def _observe_ended(
        self, engine: APIClient, ended: Sequence[Mapping[str, Any]]
    ) -> list[Observation]:
        found = [(c, i) for c in ended if (i := self._inspect(engine, c["Id"])) is not None]
        unstopped = [c["Id"] for c, _ in found if not reading.was_stopped(c)]
        events = EngineEvents.of(engine) if unstopped else None
        return [
            reading.exited(container, inspected, events if container["Id"] in unstopped else None)
            for container, inspected in found
        ]

    def _prune(self, present: set[str]) -> None:
        self._running = {k: v for k, v in self._running.items() if k in present}

    def _remove_unstarted(self, engine: APIClient, listed: Mapping[str, Any]) -> Observation | None:
        """Remove a container whose worker died between creating and starting it.

        No live worker can be at that point, because one process at a time uses an engine.
        """
        try:
            self._remove(engine, listed["Id"])
        except APIError as error:
            if not _is(error, _CONFLICT):
                raise
            # The engine was just starting it. The next reconcile sees it running.
            return reading.preparing(listed)
        return None

    def _inspect(self, engine: APIClient, container: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = engine.inspect_container(container)
        except NotFound:
            return None
        return found

    def _find(self, engine: APIClient, uid: UUID) -> Mapping[str, Any] | None:
        found = engine.containers(all=True, filters=labels.label_filter(self._uid, uid))
        return next((container for container in found if labels.uid_of(container) == uid), None)

    # --- The connection ---------------------------------------------------------------------------

    def _connect(self) -> APIClient:
        try:
            credentials = self._connection.open_credentials()
        except CannotDecrypt as error:
            raise DriverError(str(error), retriable=True, cause=Cause.UNREACHABLE) from error
        return connect(self._connection.endpoint, credentials)

    @contextmanager
    def _engine(self) -> Iterator[APIClient]:
        """Yield a client that no other thread uses, because threads cannot share a session.

        It is kept for later calls unless the engine is unreachable. All are discarded then, because
        the engine may come back with another version of the API.
        """
        client: APIClient | None = None
        try:
            with translated():
                client = self._take()
                yield client
        except DriverError as error:
            if error.cause is Cause.UNREACHABLE:
                self._discard(client)
            elif client:
                self._idle.append(client)
            raise
        self._idle.append(client)

    def _take(self) -> APIClient:
        # The error of a failed connection would otherwise have the IndexError as its origin.
        with suppress(IndexError):
            return self._idle.pop()
        return self._connect()

    def _discard(self, client: APIClient | None) -> None:
        former, self._idle, self._has_mib = self._idle, [], 0
        for each in (client, *former):
            if each:
                each.close()


def _is(error: APIError, *statuses: int) -> bool:
    return error.response is not None and error.response.status_code in statuses
