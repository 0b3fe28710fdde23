"""An engine that runs nothing: containers are rows that start, run and exit by the clock.

What a deployment's image and environment may ask of it:
- image `simulated/missing`: cannot be pulled; the start is refused.
- SIMULATE_RUN_SECONDS: exit by itself after so many seconds (default: run until stopped).
- SIMULATE_EXIT_CODE: the exit code then; without SIMULATE_RUN_SECONDS it exits at once.
- SIMULATE_STOP_SECONDS: seconds that it takes to honour a stop (default 0); the grace bounds it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from clusters.drivers.base import Cause, ContainerSpec, DriverError, Observation, Phase, Probe
from clusters.models import Cluster, SimulatedContainer

MISSING_IMAGE = "simulated/missing"
_KILLED = 137
_TERMINATED = 143
_LONGEST = 10**9


class SimulatedDriver:
    def __init__(self, cluster: Cluster) -> None:
        self._containers = SimulatedContainer.objects.filter(cluster=cluster)
        self._cluster = cluster

    def probe(self) -> Probe:
        return Probe(
            engine_id=f"simulated-{self._cluster.pk}",
            version="simulated",
            cpu_milli=self._cluster.cpu_milli,
            ram_mib=self._cluster.ram_mib,
            gpu=self._cluster.gpu,
        )

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        if spec.image == MISSING_IMAGE:
            raise DriverError(
                f"Image {spec.image} cannot be pulled: correct `image`, then start it again.",
                retriable=False,
                cause=Cause.IMAGE_NOT_FOUND,
            )
        runs_for = _seconds(spec.env, "SIMULATE_RUN_SECONDS")
        exit_code = _seconds(spec.env, "SIMULATE_EXIT_CODE")
        if runs_for is None and exit_code is not None:
            runs_for = 0
        self._containers.get_or_create(
            run_id=spec.run_id,
            defaults={
                "cluster": self._cluster,
                "started_at": now,
                "exits_at": None if runs_for is None else now + timedelta(seconds=runs_for),
                "exit_code": exit_code or 0,
                "stop_seconds": _seconds(spec.env, "SIMULATE_STOP_SECONDS") or 0,
            },
        )

    def stop(self, run_id: int, grace_seconds: int, now: datetime) -> None:
        container = self._containers.filter(run_id=run_id).first()
        if container is None:
            return
        killed = container.stop_seconds > grace_seconds
        exits_at = now + timedelta(seconds=min(container.stop_seconds, grace_seconds))
        if container.exits_at is None or container.exits_at > exits_at:
            self._containers.filter(run_id=run_id).update(
                exits_at=exits_at, exit_code=_KILLED if killed else _TERMINATED
            )

    def observe(self, now: datetime) -> list[Observation]:
        return [
            Observation(run_id, Phase.EXITED, exit_code=exit_code)
            if exits_at is not None and exits_at <= now
            else Observation(run_id, Phase.RUNNING, until=exits_at)
            for run_id, exits_at, exit_code in self._containers.values_list(
                "run_id", "exits_at", "exit_code"
            )
        ]

    def logs(
        self, run_id: int, *, tail: int | None = None, follow: bool = False
    ) -> Iterator[bytes]:
        if self._containers.filter(run_id=run_id).exists():
            yield b"A simulated container says nothing else.\n"

    def remove(self, run_id: int) -> None:
        self._containers.filter(run_id=run_id).delete()

    def watch(self) -> Iterator[None]:
        return iter(())


def _seconds(env: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from the environment, None when it is absent or is none."""
    text = env.get(name, "")
    return min(int(text), _LONGEST) if text.isdecimal() else None
