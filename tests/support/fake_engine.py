"""An engine for tests, which implements the driver's interface and can be made to fail.

Its containers start at once unless their image is slow, run until the test ends them, and record
the spec that they were started with. While the engine is down, every verb raises DriverError.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from clusters.drivers import docker
from clusters.drivers.base import Cause, ContainerSpec, DriverError, Observation, Phase, Probe
from clusters.models import Connection

KIND = replace(docker.KIND, driver="tests.support.fake_engine.FakeDriver")
SLOW = "slow/image"
KILLED = 137
TERMINATED = 143


@dataclass
class Container:
    spec: ContainerSpec
    seen: Observation
    wrote: bytes = b""
    stops: list[int] = field(default_factory=list)

    def change(self, **values: object) -> None:
        self.seen = replace(self.seen, **values)  # type: ignore[arg-type]

    def exit(self, code: int, cause: Cause | None = None, message: str = "") -> None:
        self.change(phase=Phase.EXITED, exit_code=code, cause=cause, message=message)


class FakeEngine:
    def __init__(self, engine_id: str = "fake") -> None:
        self.engine_id = engine_id
        self.by_uid: dict[UUID, Container] = {}
        self.markers: set[UUID] | None = set()
        self.is_down = False
        self.refusal: DriverError | None = None
        self.ignores_stop = False
        self.starts: list[ContainerSpec] = []
        self.starts_at_once = 3
        self.batches: list[int] = []
        """The number of containers of each call of `start_all`."""
        self.interruptions: dict[str, Callable[[], object]] = {}
        """By verb: an action of another process, carried out once at the next call of the verb."""

    def interrupt(self, verb: str) -> None:
        self.interruptions.pop(verb, lambda: None)()

    def call(self) -> None:
        if self.is_down:
            raise DriverError("no route to host", retriable=True, cause=Cause.UNREACHABLE)

    @property
    def containers(self) -> dict[int, Container]:
        """The newest container of each run, by the run's id."""
        return {container.spec.run_id: container for container in self.by_uid.values()}

    def change(self, run_id: int, **values: object) -> None:
        self.containers[run_id].change(**values)

    def exit(self, run_id: int, code: int, cause: Cause | None = None, message: str = "") -> None:
        self.containers[run_id].exit(code, cause, message)

    @property
    def running(self) -> set[int]:
        return {pk for pk, c in self.containers.items() if c.seen.phase is not Phase.EXITED}


ENGINES: dict[str, FakeEngine] = {}


class FakeDriver:
    """The driver of the engine that the connection's endpoint names."""

    def __init__(self, connection: Connection) -> None:
        self._engine = ENGINES[connection.endpoint]
        self._devices = tuple(connection.devices)

    def probe(self) -> Probe:
        self._engine.call()
        return Probe(self._engine.engine_id, "fake 1", 8000, 16384, 2, devices=self._devices)

    def nodes(self) -> None:
        return None

    def warnings(self) -> tuple[str, ...]:
        return ()

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        self._engine.interrupt("start")
        self._engine.call()
        if self._engine.refusal:
            raise self._engine.refusal
        self._engine.starts.append(spec)
        phase = Phase.PREPARING if spec.image == SLOW else Phase.RUNNING
        seen = Observation(
            spec.uid, phase, started_at=now, devices=spec.devices, run_id=spec.run_id,
            image=spec.image, command=spec.command, name=f"fake-{spec.uid}",
        )  # fmt: skip
        self._engine.by_uid.setdefault(spec.uid, Container(spec, seen))

    @property
    def starts_at_once(self) -> int:
        return self._engine.starts_at_once

    def start_all(
        self, specs: Sequence[ContainerSpec], now: datetime
    ) -> Sequence[DriverError | None]:
        self._engine.batches.append(len(specs))
        return [self._error(spec, now) for spec in specs]

    def _error(self, spec: ContainerSpec, now: datetime) -> DriverError | None:
        try:
            self.start(spec, now)
        except DriverError as error:
            return error
        return None

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        self._engine.interrupt("stop")
        self._engine.call()
        container = self._engine.by_uid.get(uid)
        if container is None:
            return
        container.stops.append(grace_seconds)
        if grace_seconds == 0:
            container.exit(KILLED)
        elif not self._engine.ignores_stop:
            container.exit(TERMINATED)
        elif container.seen.until is None:
            container.change(until=now + timedelta(seconds=grace_seconds))

    def observe(self, now: datetime) -> list[Observation]:
        self._engine.interrupt("observe")
        self._engine.call()
        for container in self._engine.by_uid.values():
            until = container.seen.until
            if until and until <= now and container.seen.phase is not Phase.EXITED:
                container.exit(KILLED)
        return [container.seen for container in self._engine.by_uid.values()]

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        self._engine.call()
        container = self._engine.by_uid.get(uid)
        if container is None:
            return
        lines = container.wrote.splitlines(keepends=True)
        yield from lines[-tail:] if tail else [] if tail == 0 else lines
        while follow and container.seen.phase is not Phase.EXITED:
            yield b""

    def remove(self, uid: UUID) -> None:
        self._engine.interrupt("remove")
        self._engine.call()
        self._engine.by_uid.pop(uid, None)

    def markers(self) -> frozenset[UUID] | None:
        self._engine.call()
        return None if self._engine.markers is None else frozenset(self._engine.markers)

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        for step in ("put", "replace"):
            self._engine.call()
            self._engine.interrupt(step)
            if self._engine.markers is not None and step == "put":
                self._engine.markers.add(marker)
            elif self._engine.markers is not None:
                self._engine.markers -= set(instead_of)
        self._engine.interrupt("marked")

    def watch(self) -> Iterator[None]:
        return iter(())
