"""Requests, on commit, for work that the periodic tasks would do anyway, only later.

Requests for the same subject that nobody has begun yet are merged into one message. A message
that is lost, or that cannot be sent, costs at most one period. One thread of each process sends
them, so no caller waits for a broker that hangs.
"""

import atexit
import os
from collections.abc import Callable
from functools import partial
from threading import Condition, Lock, Thread, Timer
from time import monotonic
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from redis import Redis, RedisError, ResponseError

RUN_CYCLE = "scheduling.run_cycle"
RECONCILE = "deployments.reconcile"
ENGINES = "engines"
"""The queue of what may wait for an engine: a slow one keeps no cycle waiting."""

_MERGE_SECONDS = 5
"""A request that was lost on its way stands in the way of the next ones for no longer."""

_FLUSH_SECONDS = 2
"""How long a process that ends waits until its requests are sent."""

_AGAIN_SECONDS = 120
"""Longer than a look takes at an engine that hangs."""

Wakeup = tuple[str, int]
"""A task's name and the id of its subject."""

_alarms: dict[Wakeup, tuple[float, Timer]] = {}
_lock = Lock()

log = structlog.get_logger(__name__)


class _Sender:
    """The requests that are still to be sent, each once, and the thread that sends them."""

    def __init__(self) -> None:
        self._waiting: dict[Wakeup, None] = {}
        self._is_sending = False
        self._changed = Condition()
        self._thread: Thread | None = None

    def add(self, wakeup: Wakeup) -> None:
        with self._changed:
            self._waiting[wakeup] = None
            if self._thread is None:
                self._thread = Thread(target=self._run, name="wakeups", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until all are sent, or cannot be. Returns whether that came to pass in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._is_sending), seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                wakeup = next(iter(self._waiting))
                # Taken out first: a change that comes while it is sent needs one of its own.
                del self._waiting[wakeup]
                self._is_sending = True
            _send(*wakeup)
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()


_sender = _Sender()


def flush() -> bool:
    """Wait a moment until what was asked for in this process is sent; say whether it is."""
    return _sender.flush()


def _forget() -> None:
    """Begin anew in a forked process, which has none of its parent's threads."""
    global _sender
    _sender = _Sender()
    _alarms.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(flush)


def request_cycle(organization_id: int, *, delay_s: float = 0) -> None:
    """Ask for a scheduling cycle of the organization once this transaction has committed."""
    _request((RUN_CYCLE, organization_id), delay_s)


def request_reconcile(cluster_id: int, *, delay_s: float = 0) -> None:
    """Ask that the cluster's containers be compared with its runs once this has committed."""
    _request((RECONCILE, cluster_id), delay_s)


def reconcile_at_once(cluster_id: int) -> None:
    """Ask for the same from a thread that has no transaction, and needs no database."""
    _send_soon((RECONCILE, cluster_id))


def begin(task: str, subject_id: int) -> None:
    """Say that the work begins now: later changes need a request of their own."""
    _on_cache(lambda: cache.delete(_key(task, subject_id)))


def ask_again(task: str, subject_id: int) -> None:
    """Have whoever is at work on the subject at this moment see to it once more afterwards."""
    _on_cache(lambda: cache.set(_again(task, subject_id), 1, timeout=_AGAIN_SECONDS))


def asked_again(task: str, subject_id: int) -> bool:
    """Whether somebody did since `begin_again`."""
    return bool(_on_cache(lambda: cache.get(_again(task, subject_id))))


def begin_again(task: str, subject_id: int) -> None:
    """Say that what was asked for is done from here on."""
    _on_cache(lambda: cache.delete(_again(task, subject_id)))


def _on_cache(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_note_lost", error=str(error))
        return None


def _again(task: str, subject_id: int) -> str:
    return f"wakeup:again:{task}:{subject_id}"


def broker_state() -> str:
    """Return `ok`, `unreachable`, or `refuses writes`; within a second.

    It refuses writes when its memory or its disk is full, or when it is a replica.
    """
    try:
        with Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=0.5, socket_timeout=0.5, retry=None
        ) as client:
            client.set("hypervisor:probe", 1, ex=10)
    except ResponseError:
        log.warning("broker_refuses_writes", exc_info=True)
        return "refuses writes"
    except RedisError:
        log.warning("broker_unreachable", exc_info=True)
        return "unreachable"
    return "ok"


def _request(wakeup: Wakeup, delay_s: float) -> None:
    act = partial(_send_later, wakeup, delay_s) if delay_s else partial(_send_soon, wakeup)
    transaction.on_commit(act, robust=True)


def _send_soon(wakeup: Wakeup) -> None:
    _sender.add(wakeup)


def _send_later(wakeup: Wakeup, delay_s: float) -> None:
    """Set this process's alarm for the subject, unless it rings sooner anyway.

    A worker of threads looks at Celery's own countdowns only once a second.
    """
    due = monotonic() + delay_s
    with _lock:
        known = _alarms.get(wakeup)
        if known and known[0] <= due:
            return
        if known:
            known[1].cancel()
        timer = Timer(delay_s, _ring, [wakeup])
        timer.daemon = True
        _alarms[wakeup] = due, timer
        timer.start()


def _ring(wakeup: Wakeup) -> None:
    with _lock:
        _alarms.pop(wakeup, None)
    _send_soon(wakeup)


def _send(task: str, subject_id: int) -> None:
    try:
        if cache.add(_key(task, subject_id), 1, timeout=_MERGE_SECONDS):
            current_app.send_task(task, args=[subject_id])
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_not_sent", task=task, subject=subject_id, error=str(error))


def _key(task: str, subject_id: int) -> str:
    return f"wakeup:{task}:{subject_id}"
