from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from clusters.drivers.base import (
    Cause,
    ContainerSpec,
    DriverError,
    Observation,
    Phase,
    Probe,
)
from clusters.drivers.simulated.driver import SimulatedDriver
from clusters.models import Connection

_SCHEME = "slow:"


def endpoint(seconds: int) -> str:
    """Return the endpoint of an engine that pulls an image in so many seconds."""
    return f"{_SCHEME}{seconds}"


def seconds(endpoint: str) -> int:
    """Return the seconds that an endpoint names. Raises DriverError if it names none."""
    number = endpoint.removeprefix(_SCHEME)
    if not number.isdecimal():
        raise DriverError(
            f"Give the endpoint as {_SCHEME}SECONDS.", retriable=False, cause=Cause.INVALID_SPEC
        )
    return int(number)


class SlowDriver(SimulatedDriver):
    """A container's row has its start time; until then its image is being pulled."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._endpoint = connection.endpoint

    def probe(self) -> Probe:
        found = super().probe()
        version = f"simulated, images in {seconds(self._endpoint)} s"
        return replace(found, engine_id=f"slow-{self._cluster.pk}", version=version)

    def start_all(
        self, specs: Sequence[ContainerSpec], now: datetime
    ) -> Sequence[DriverError | None]:
        return super().start_all(specs, now + timedelta(seconds=seconds(self._endpoint)))

    def observe(self, now: datetime) -> list[Observation]:
        return [_seen(observed, now) for observed in super().observe(now)]


def _seen(observed: Observation, now: datetime) -> Observation:
    if observed.started_at is None or observed.started_at <= now:
        return observed
    if observed.phase is Phase.EXITED:  # stopped before its image was there
        return replace(observed, started_at=None)
    return replace(observed, phase=Phase.PREPARING, started_at=None, until=None)
