"""Start several containers of an engine whose calls take long, each call in its own thread."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from django.conf import settings

from clusters.drivers.base import ContainerSpec, DriverError


class StartsInThreads:
    """The part of a driver that starts as many containers at once as the settings allow."""

    def start(self, spec: ContainerSpec, now: datetime) -> None:
        raise NotImplementedError

    @property
    def starts_at_once(self) -> int:
        return int(settings.STARTS_AT_ONCE)

    def start_all(
        self, specs: Sequence[ContainerSpec], now: datetime
    ) -> Sequence[DriverError | None]:
        return in_threads(self.start, specs, now)


Start = Callable[[ContainerSpec, datetime], None]


def in_threads(
    start: Start, specs: Sequence[ContainerSpec], now: datetime
) -> list[DriverError | None]:
    """Return the error of each start, None if it succeeded.

    `start` must not use the database, because the threads have no connection that is ever closed.
    """
    if len(specs) < 2:
        return [_error(start, spec, now) for spec in specs]
    with ThreadPoolExecutor(len(specs), thread_name_prefix="start") as threads:
        return list(threads.map(lambda spec: _error(start, spec, now), specs))


def _error(start: Start, spec: ContainerSpec, now: datetime) -> DriverError | None:
    try:
        start(spec, now)
    except DriverError as error:
        return error
    return None
