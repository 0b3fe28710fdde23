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
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
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
from hypervisor.base import arrays
from hypervisor.base.numbers import whole

MISSING_IMAGE = "simulated/missing"
MISSING_COMMAND = "simulated-missing"
_NOT_FOUND = 127
_KILLED = 137
_TERMINATED = 143
_LONGEST = 10**9
_AT_ONCE = 1000
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
        for error in filter(None, self.start_all([spec], now)):
            raise error

    @property
    def starts_at_once(self) -> int:
        return _AT_ONCE

    def start_all(
        self, specs: Sequence[ContainerSpec], now: datetime
    ) -> Sequence[DriverError | None]:
        refusals = [self._refusal(spec) for spec in specs]
        accepted = [spec for spec, refusal in zip(specs, refusals, strict=True) if not refusal]
        if accepted:
            self._insert(accepted, now)
        return refusals

    def _insert(self, specs: Sequence[ContainerSpec], now: datetime) -> None:
        sql = """
            INSERT INTO clusters_simulatedcontainer
                (cluster_id, started_at, uid, run_id, exits_at, exit_code, cause, stop_seconds,
                 output)
            SELECT %s, %s, v.* FROM unnest(
                %s::uuid[], %s::bigint[], %s::timestamptz[], %s::int[], %s::text[], %s::int[],
                %s::text[]
            ) AS v(uid, run_id, exits_at, exit_code, cause, stop_seconds, output)
            WHERE NOT EXISTS (
                SELECT FROM clusters_simulatedcontainer c
                WHERE c.uid IS NULL AND c.run_id = v.run_id AND c.cluster_id = %s
                  AND v.uid = ANY(%s::uuid[])
            )
            ON CONFLICT (uid) DO NOTHING
        """
        endings = [_ending(spec) for spec in specs]
        environments = [spec.environment for spec in specs]
        columns: list[Any] = [
            self._cluster.pk,
            now,
            arrays.texts(str(spec.uid) for spec in specs),
            arrays.numbers(spec.run_id for spec in specs),
            arrays.times(None if s is None else now + timedelta(seconds=s) for s, _, _ in endings),
            arrays.numbers(exit_code for _, exit_code, _ in endings),
            arrays.texts(cause or "" for _, _, cause in endings),
            arrays.numbers(_seconds(e, "SIMULATE_STOP_SECONDS") or 0 for e in environments),
            arrays.texts(e.get("SIMULATE_LOG", _OUTPUT) for e in environments),
            self._cluster.pk,
            # Containers of former releases have only their run's id.
            arrays.texts(str(s.uid) for s in specs if run_by_uid(s.uid) is not None),
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, columns)

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
        rows = self._containers.values_list(
            "uid", "run_id", "started_at", "exits_at", "exit_code", "cause"
        )
        return [_observation(*row, now) for row in rows]

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

    def _refusal(self, spec: ContainerSpec) -> DriverError | None:
        if spec.image == MISSING_IMAGE:
            return DriverError(
                f"Image {spec.image} cannot be pulled: correct `image` and submit the deployment"
                " again.",
                retriable=False,
                cause=Cause.IMAGE_NOT_FOUND,
            )
        if any(getattr(spec, name) > getattr(self._cluster, name) for name in DIMENSIONS):
            has = describe(*(getattr(self._cluster, name) for name in DIMENSIONS))
            return DriverError(
                f"The engine has only {has}: request less.",
                retriable=False,
                cause=Cause.OVER_CAPACITY,
            )
        return None


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


def _observation(
    uid: UUID | None, run_id: int, started_at: datetime, exits_at: datetime | None, exit_code: int,
    cause_name: str, now: datetime,
) -> Observation:  # fmt: skip
    uid = uid or uid_by_run(run_id)
    if exits_at is None or exits_at > now:
        return Observation(uid, Phase.RUNNING, until=exits_at, started_at=started_at, run_id=run_id)
    cause = Cause(cause_name) if cause_name else None
    return Observation(
        uid,
        Phase.EXITED,
        exit_code=exit_code,
        cause=cause,
        message=_MESSAGES[cause] if cause else "",
        started_at=started_at,
        exited_at=exits_at,
        run_id=run_id,
    )


def _seconds(env: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from the environment, None if it is absent or not a number."""
    number = whole(env.get(name, ""))
    return None if number is None or number < 0 else min(number, _LONGEST)
