"""Requests, on commit, for work that the periodic tasks would do anyway, only later.

Requests for the same subject that nobody has begun yet are merged into one message. A message
that is lost, or that cannot be sent, costs at most one period.
"""

import os
from collections.abc import Callable
from functools import partial
from threading import Lock, Timer
from time import monotonic
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from redis import Redis, RedisError

RUN_CYCLE = "scheduling.run_cycle"
RECONCILE = "deployments.reconcile"
ENGINES = "engines"
"""The queue of what may wait for an engine: a slow one keeps no cycle waiting."""

_MERGE_SECONDS = 5
"""A request that was lost on its way stands in the way of the next ones for no longer."""

_alarms: dict[int, tuple[float, Timer]] = {}
_lock = Lock()
os.register_at_fork(after_in_child=_alarms.clear)

_AGAIN_SECONDS = 120
"""Longer than a look takes at an engine that hangs."""

log = structlog.get_logger(__name__)


def request_cycle(organization_id: int) -> None:
    """Ask for a scheduling cycle of the organization once this transaction has committed."""
    transaction.on_commit(partial(_send, RUN_CYCLE, organization_id), robust=True)


def request_reconcile(cluster_id: int, *, delay_s: float = 0) -> None:
    """Ask that the cluster's containers be compared with its runs once this has committed."""
    now, later = partial(_send, RECONCILE, cluster_id), partial(_send_later, cluster_id, delay_s)
    transaction.on_commit(later if delay_s else now, robust=True)


def reconcile_at_once(cluster_id: int) -> None:
    """Ask for the same from a thread that has no transaction, and needs no database."""
    _send(RECONCILE, cluster_id)


def begin(task: str, subject_id: int) -> None:
    """Say that the work begins now: later changes need a request of their own."""
    try:
        cache.delete(_key(task, subject_id))
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_not_cleared", task=task, subject=subject_id, error=str(error))


def ask_again(cluster_id: int) -> None:
    """Have whoever reconciles the cluster at this moment look once more afterwards."""
    _on_cache(lambda: cache.set(_again(cluster_id), 1, timeout=_AGAIN_SECONDS))


def asked_again(cluster_id: int) -> bool:
    """Whether somebody did since `begin_again`."""
    return bool(_on_cache(lambda: cache.get(_again(cluster_id))))


def begin_again(cluster_id: int) -> None:
    """Say that what was asked for is done from here on."""
    _on_cache(lambda: cache.delete(_again(cluster_id)))


def _on_cache(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_note_lost", error=str(error))
        return None


def _again(cluster_id: int) -> str:
    return f"wakeup:again:{cluster_id}"


def broker_answers() -> bool:
    """Say whether messages can be sent; takes half a second at most."""
    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5
        ) as client:
            client.ping()
    except RedisError:
        log.warning("broker_unreachable", exc_info=True)
        return False
    return True


def _send_later(cluster_id: int, delay_s: float) -> None:
    """Set this process's alarm for the cluster, unless it rings sooner anyway.

    A worker of threads looks at Celery's own countdowns only once a second.
    """
    due = monotonic() + delay_s
    with _lock:
        known = _alarms.get(cluster_id)
        if known and known[0] <= due:
            return
        if known:
            known[1].cancel()
        timer = Timer(delay_s, _ring, [cluster_id])
        timer.daemon = True
        _alarms[cluster_id] = due, timer
        timer.start()


def _ring(cluster_id: int) -> None:
    with _lock:
        _alarms.pop(cluster_id, None)
    _send(RECONCILE, cluster_id)


def _send(task: str, subject_id: int) -> None:
    try:
        if cache.add(_key(task, subject_id), 1, timeout=_MERGE_SECONDS):
            current_app.send_task(task, args=[subject_id])
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_not_sent", task=task, subject=subject_id, error=str(error))


def _key(task: str, subject_id: int) -> str:
    return f"wakeup:{task}:{subject_id}"
