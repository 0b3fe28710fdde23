"""An engine that runs nothing: containers are rows that start, run and exit by the clock.

A deployment's image, command and environment control the simulation:
- image `simulated/missing`: cannot be pulled, so the start is refused.
- command `simulated-missing`: a program that the image does not contain.
- SIMULATE_RUN_SECONDS: exit after this many seconds (default: run until stopped).
- SIMULATE_EXIT_CODE: the exit code; without SIMULATE_RUN_SECONDS the container exits at once.
- SIMULATE_OUT_OF_MEMORY: with `1`, it is killed because of its memory instead of exiting.
- SIMULATE_STOP_SECONDS: seconds to end after a stop (default 0), at most the grace period.
- SIMULATE_LOG: the container's output.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from clusters.drivers.base import (
    Cause,
    ContainerSpec,
    DriverError,
    Observation,
    Phase,
    Probe,
    run_by_uid,
    uid_by_run,
)
from clusters.models import DIMENSIONS, Connection, SimulatedContainer
from clusters.resources import describe
from hypervisor.base.numbers import whole

MISSING_IMAGE = "simulated/missing"
MISSING_COMMAND = "simulated-missing"
_NOT_FOUND = 127
_KILLED = 137
_TERMINATED = 143
_LONGEST = 10**9
_SILENCE_S = 1
_OUTPUT = "A simulated container writes nothing else.\n"

_MESSAGES = {
    Cause.COMMAND_NOT_FOUND: (
        "The image does not contain the program that `command` names: correct `command`."
    ),
    Cause.OUT_OF_MEMORY: (
        "Was killed because it used more memory than its `ram_mib`: request a larger `ram_mib`."
    ),
    Cause.KILLED: (
        "Was killed because it did not end within its grace period: make the program end on"
        " SIGTERM."
    ),
}


class SimulatedDriver:
    def __init__(self, connection: Connection) -> None:
        self._cluster = connection.cluster
        self._containers = SimulatedContainer.objects.filter(cluster=self._cluster)

    def probe(self) -> Probe:
        return Probe(
            engine_id=f"simulated-{self._cluster.pk}",
            version="simulated",
            cpu_milli=self._cluster.cpu_milli,
            ram_mib=self._cluster.ram_mib,
            gpu=self._cluster.gpu,
        )

    def nodes(self) -> None:
        return None

    def warnings(self) -> tuple[str, ...]:
        return ()

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        if spec.image == MISSING_IMAGE:
            raise DriverError(
                f"Image {spec.image} cannot be pulled: correct `image` and submit the deployment"
                " again.",
                retriable=False,
                cause=Cause.IMAGE_NOT_FOUND,
            )
        self._check_capacity(spec)
        runs_for, exit_code, cause = _ending(spec)
        if self._of(spec.uid).exists():
            return
        self._containers.get_or_create(
            uid=spec.uid,
            defaults={
                "cluster": self._cluster,
                "run_id": spec.run_id,
                "started_at": now,
                "exits_at": None if runs_for is None else now + timedelta(seconds=runs_for),
                "exit_code": exit_code,
                "cause": cause or "",
                "stop_seconds": _seconds(spec.environment, "SIMULATE_STOP_SECONDS") or 0,
                "output": spec.environment.get("SIMULATE_LOG", _OUTPUT),
            },
        )

    def stop(self, uid: UUID, grace_seconds: int, now: datetime) -> None:
        container = self._of(uid).first()
        if container is None:
            return
        killed = container.stop_seconds > grace_seconds
        exits_at = now + timedelta(seconds=min(container.stop_seconds, grace_seconds))
        if container.exits_at is None or container.exits_at > exits_at:
            self._of(uid).update(
                exits_at=exits_at,
                exit_code=_KILLED if killed else _TERMINATED,
                cause=Cause.KILLED if killed else "",
            )

    def observe(self, now: datetime) -> list[Observation]:
        return [_observation(container, now) for container in self._containers.all()]

    def logs(self, uid: UUID, *, tail: int | None = None, follow: bool = False) -> Iterator[bytes]:
        container = self._of(uid).first()
        lines = container.output.encode().splitlines(keepends=True) if container else []
        yield from lines if tail is None else lines[max(0, len(lines) - tail) :]
        while follow and self._runs(uid):
            time.sleep(_SILENCE_S)
            yield b""

    def remove(self, uid: UUID) -> None:
        self._of(uid).delete()

    def markers(self) -> None:
        """Return None, because the engine is part of the database and is copied along with it."""

    def mark(self, marker: UUID, *, instead_of: Collection[UUID]) -> None:
        """Do nothing, because there are no markers."""

    def watch(self) -> Iterator[None]:
        return iter(())

    def _of(self, uid: UUID) -> QuerySet[SimulatedContainer]:
        run_id = run_by_uid(uid)
        unnamed = Q(uid=None, run_id=run_id) if run_id is not None else Q()
        return self._containers.filter(Q(uid=uid) | unnamed)

    def _runs(self, uid: UUID) -> bool:
        over = Q(exits_at__lte=timezone.now())
        return self._of(uid).exclude(over).exists()

    def _check_capacity(self, spec: ContainerSpec) -> None:
        if any(getattr(spec, name) > getattr(self._cluster, name) for name in DIMENSIONS):
            has = describe(*(getattr(self._cluster, name) for name in DIMENSIONS))
            raise DriverError(
                f"The engine has only {has}: request less.",
                retriable=False,
                cause=Cause.OVER_CAPACITY,
            )


def _ending(spec: ContainerSpec) -> tuple[int | None, int, Cause | None]:
    """Return the seconds until the container exits (None: never), its exit code and the cause."""
    if spec.command[:1] == (MISSING_COMMAND,):
        return 0, _NOT_FOUND, Cause.COMMAND_NOT_FOUND
    runs_for = _seconds(spec.environment, "SIMULATE_RUN_SECONDS")
    if spec.environment.get("SIMULATE_OUT_OF_MEMORY") == "1":
        return runs_for or 0, _KILLED, Cause.OUT_OF_MEMORY
    exit_code = _seconds(spec.environment, "SIMULATE_EXIT_CODE")
    if runs_for is None and exit_code is not None:
        runs_for = 0
    return runs_for, exit_code or 0, None


def _observation(container: SimulatedContainer, now: datetime) -> Observation:
    if container.exits_at is None or container.exits_at > now:
        return Observation(
            _uid(container),
            Phase.RUNNING,
            until=container.exits_at,
            started_at=container.started_at,
            run_id=container.run_id,
        )
    cause = Cause(container.cause) if container.cause else None
    return Observation(
        _uid(container),
        Phase.EXITED,
        exit_code=container.exit_code,
        cause=cause,
        message=_MESSAGES[cause] if cause else "",
        started_at=container.started_at,
        exited_at=container.exits_at,
        run_id=container.run_id,
    )


def _uid(container: SimulatedContainer) -> UUID:
    return container.uid or uid_by_run(container.run_id)


def _seconds(env: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from the environment, None if it is absent or not a number."""
    number = whole(env.get(name, ""))
    return None if number is None or number < 0 else min(number, _LONGEST)
