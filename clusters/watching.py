"""Watch each engine in a thread that requests a reconcile as soon as something changes there.

The watch only makes the reconcile come sooner: if a thread ends because its engine closed the
connection, the next reconcile starts another.
"""

import os
from threading import Lock, Thread

import structlog

from clusters.drivers import driver_for
from clusters.drivers.base import Driver, DriverError
from clusters.engines import Engine
from clusters.wakeups import Wakeup, request_at_once

_watched: dict[Wakeup, Thread] = {}
_lock = Lock()
os.register_at_fork(after_in_child=_watched.clear)

log = structlog.get_logger(__name__)


def keep_watch(engine: Engine) -> None:
    """Start a thread that requests a reconcile at each change on the engine, unless one runs."""
    if not engine.cluster.kind.can_watch:
        return
    wakeup = engine.wakeup
    with _lock:
        thread = _watched.get(wakeup)
        if thread and thread.is_alive():
            return
        try:
            driver = driver_for(engine)
        except DriverError:
            return
        name = f"watch-{engine.where}"
        thread = Thread(target=_watch, args=(wakeup, driver), name=name, daemon=True)
        _watched[wakeup] = thread
        thread.start()


def _watch(wakeup: Wakeup, driver: Driver) -> None:
    try:
        for _ in driver.watch():
            request_at_once(wakeup)
    except DriverError as error:
        log.info("watch_ended", wakeup=wakeup, error=str(error))
