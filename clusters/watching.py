"""Watch each engine in a thread that requests a reconcile as soon as something changes there.

The watch only makes the reconcile come sooner: if a thread ends because its engine closed the
connection, the next reconcile starts another.
"""

import os
from threading import Lock, Thread

import structlog

from clusters.drivers import driver_for
from clusters.drivers.base import Driver, DriverError
from clusters.models import Cluster
from clusters.wakeups import reconcile_at_once

_watched: dict[int, Thread] = {}
_lock = Lock()
os.register_at_fork(after_in_child=_watched.clear)

log = structlog.get_logger(__name__)


def keep_watch(cluster_id: int) -> None:
    """Start a thread that requests a reconcile at each change on the engine, unless one runs."""
    with _lock:
        thread = _watched.get(cluster_id)
        if thread and thread.is_alive():
            return
        cluster = Cluster.objects.filter(pk=cluster_id).first()
        if cluster is None or not cluster.kind.can_watch:
            return
        try:
            driver = driver_for(cluster)
        except DriverError:
            return
        thread = Thread(
            target=_watch, args=(cluster_id, driver), name=f"watch-{cluster_id}", daemon=True
        )
        _watched[cluster_id] = thread
        thread.start()


def _watch(cluster_id: int, driver: Driver) -> None:
    try:
        changes = driver.watch()
        for _ in changes:
            reconcile_at_once(cluster_id)
    except DriverError as error:
        log.info("watch_ended", cluster=cluster_id, error=str(error))
