"""Requests, sent on commit, for work that the periodic tasks would otherwise do later.

Requests for the same subject are merged into one message until a worker begins it. Each process
also limits the messages per second for the same cycle, the more the faster the requests come: while
it waits to send the next one, further requests cost nothing, because that message serves all of
them. A long pace holds for all processes, because the message of one serves the requests of all. A
message that is lost, or cannot be sent, delays the work by at most one period. One thread
of each process sends the messages, so that no caller waits for a broker that hangs.
"""

import atexit
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Condition, Lock, Thread, Timer
from time import monotonic, time
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from redis import Redis, RedisError, ResponseError
from structlog.contextvars import get_contextvars

from hypervisor.base.tracing import REQUEST_ID

RUN_CYCLE = "scheduling.run_cycle"
RECONCILE = "deployments.reconcile"
RECONCILE_ENGINE = "deployments.reconcile_engine"
ENGINES = "engines"
"""The queue of tasks that may wait for an engine, apart from the cycles, which never do."""

_MERGE_SECONDS = 5
"""How long a request that was lost can suppress the next ones for its subject."""

_FLUSH_SECONDS = 2
"""How long a process that is ending waits for its requests to be sent."""

_PACE_SECONDS = 0.1
"""The least time between messages for the same cycle while its requests do not pause."""

_PACE_OF_EACH = 0.025
"""How many seconds each request that a message serves delays the next one, beyond the least time:
at less than 40 requests a second the pace is the least, at more it becomes the longest."""

_LONGEST_PACE = 0.5

_BURST = 4
"""How many messages for the same cycle are sent without delay after a pause of as many paces."""

_RERUN_SECONDS = 120
"""How long a request for another run is kept: longer than a reconcile of an engine that hangs."""

Wakeup = tuple[str, int]
"""A task's name and the id of its subject."""

_withheld: ContextVar[set[Wakeup] | None] = ContextVar("withheld", default=None)

_timers: dict[Wakeup, tuple[float, Timer]] = {}
_lock = Lock()

log = structlog.get_logger(__name__)


class _Pace:
    """Computes when the next message for a cycle may be sent: the generic cell rate algorithm.

    Other subjects may be sent at once, because their work does not grow with what waits.
    """

    def __init__(self) -> None:
        self._full_until: dict[Wakeup, float] = {}

    def due(self, wakeup: Wakeup, now: float) -> float:
        """Return the earliest time for the next message, by the monotonic clock in seconds."""
        return max(now, self._full_until.get(wakeup, now) - (_BURST - 1) * _PACE_SECONDS)

    def count(self, wakeup: Wakeup, requests: int, now: float) -> float:
        """Count a message that is sent now and serves this many requests; return its pace."""
        if wakeup[0] != RUN_CYCLE:
            return 0.0
        pace = max(_PACE_SECONDS, min(requests * _PACE_OF_EACH, _LONGEST_PACE))
        until = max(now, self._full_until.pop(wakeup, now)) + pace
        # Those that have paused come first in the dictionary, and no longer matter.
        while self._full_until and next(iter(self._full_until.values())) < now:
            del self._full_until[next(iter(self._full_until))]
        self._full_until[wakeup] = until
        return pace


class _Sender:
    """The requests to be sent, without duplicates, and the thread that sends them.

    Of each, it keeps when it is due, and the id of the first caller's request that caused it.
    """

    def __init__(self) -> None:
        self._waiting: dict[Wakeup, tuple[float, str]] = {}
        self._requests: Counter[Wakeup] = Counter()
        self._pace = _Pace()
        self._is_sending = False
        self._flushing = 0
        self._changed = Condition()
        self._thread: Thread | None = None

    def add(self, wakeup: Wakeup) -> None:
        with self._changed:
            self._requests[wakeup] += 1
            if wakeup in self._waiting:
                return
            # This thread's context is not that of the thread that sends.
            caller = str(get_contextvars().get(REQUEST_ID, ""))
            self._waiting[wakeup] = self._pace.due(wakeup, monotonic()), caller
            if self._thread is None:
                self._thread = Thread(target=self._run, name="wakeups", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Send all requests at once, and wait for it. Returns whether that happened in time."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(
                    lambda: not (self._waiting or self._is_sending), seconds
                )
            finally:
                self._flushing -= 1

    def _run(self) -> None:
        while True:
            with self._changed:
                wakeup = self._next()
            if self._postpone(wakeup):
                continue
            with self._changed:
                # Removed first, because a change during the sending needs a request of its own.
                _due, caller = self._waiting.pop(wakeup)
                pace = self._pace.count(wakeup, self._requests.pop(wakeup), monotonic())
                self._is_sending = True
            if pace > _PACE_SECONDS:
                _share_pace(wakeup, pace)
            _send(*wakeup, caller)
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()

    def _postpone(self, wakeup: Wakeup) -> bool:
        """Let the request wait for the pace of the other processes, if it has to."""
        delay = 0.0 if self._flushing else _shared_pace(wakeup)
        if delay > 0:
            with self._changed:
                self._waiting[wakeup] = monotonic() + delay, self._waiting[wakeup][1]
        return delay > 0

    def _next(self) -> Wakeup:
        """Wait until a request is due, and return it."""
        while True:
            if self._waiting:
                wakeup = min(self._waiting, key=self._waiting.__getitem__)
                delay = self._waiting[wakeup][0] - monotonic()
                if delay <= 0 or self._flushing:
                    return wakeup
                self._changed.wait(delay)
            else:
                self._changed.wait()


_sender = _Sender()


def flush() -> bool:
    """Wait briefly until this process has sent its requests; return whether it has."""
    return _sender.flush()


def _forget() -> None:
    """Reset the state in a forked process, which has none of its parent's threads."""
    global _sender
    _sender = _Sender()
    _timers.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(flush)


def request_cycle(organization_id: int, *, delay_s: float = 0) -> None:
    """Request a scheduling cycle of the organization once this transaction has committed."""
    request((RUN_CYCLE, organization_id), delay_s=delay_s)


def request_reconcile(cluster_id: int) -> None:
    """Request a reconcile of all engines of the cluster once this transaction has committed."""
    request((RECONCILE, cluster_id))


def request(wakeup: Wakeup, *, delay_s: float = 0) -> None:
    """Request this work once this transaction has committed."""
    if (withheld := _withheld.get()) is not None:
        withheld.add(wakeup)
        return
    act = partial(_send_later, wakeup, delay_s) if delay_s else partial(request_at_once, wakeup)
    transaction.on_commit(act, robust=True)


@contextmanager
def withheld() -> Iterator[set[Wakeup]]:
    """Collect what the block requests instead of requesting it."""
    requests: set[Wakeup] = set()
    token = _withheld.set(requests)
    try:
        yield requests
    finally:
        _withheld.reset(token)


def request_at_once(wakeup: Wakeup) -> None:
    """Request this work at once, from a thread without a database connection."""
    _sender.add(wakeup)


def begin(task: str, subject_id: int) -> None:
    """Record that the work begins now, so that later changes need a request of their own."""
    _on_cache(lambda: cache.delete(_key(task, subject_id)))


def request_rerun(task: str, subject_id: int) -> None:
    """Request that the worker that is processing the subject processes it once more afterwards."""
    _on_cache(lambda: cache.set(_rerun_key(task, subject_id), 1, timeout=_RERUN_SECONDS))


def rerun_requested(task: str, subject_id: int) -> bool:
    """Return whether another run was requested since `clear_rerun`."""
    return bool(_on_cache(lambda: cache.get(_rerun_key(task, subject_id))))


def clear_rerun(task: str, subject_id: int) -> None:
    """Clear the request for another run, because the run that begins now serves it."""
    _on_cache(lambda: cache.delete(_rerun_key(task, subject_id)))


def _on_cache(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_record_lost", error=str(error))
        return None


def _rerun_key(task: str, subject_id: int) -> str:
    return f"wakeup:again:{task}:{subject_id}"


def broker_state() -> str:
    """Return `ok`, `unreachable` or `refuses writes`, within a second.

    A broker refuses writes if its memory or disk is full, or if it is a replica.
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


def _send_later(wakeup: Wakeup, delay_s: float) -> None:
    """Set this process's timer for the subject, unless one fires sooner anyway.

    Celery's countdowns are too coarse: a worker with threads checks them only once a second.
    """
    due = monotonic() + delay_s
    with _lock:
        present = _timers.get(wakeup)
        if present and present[0] <= due:
            return
        if present:
            present[1].cancel()
        timer = Timer(delay_s, _fire, [wakeup])
        timer.daemon = True
        _timers[wakeup] = due, timer
        timer.start()


def _fire(wakeup: Wakeup) -> None:
    with _lock:
        _timers.pop(wakeup, None)
    request_at_once(wakeup)


def _send(task: str, subject_id: int, caller: str) -> None:
    try:
        if cache.add(_key(task, subject_id), 1, timeout=_MERGE_SECONDS):
            current_app.send_task(task, args=[subject_id], headers={REQUEST_ID: caller})
    except Exception as error:  # noqa: BLE001 whatever the broker's client raises
        log.warning("wakeup_not_sent", task=task, subject=subject_id, error=str(error))


def _share_pace(wakeup: Wakeup, seconds: float) -> None:
    """Let the other processes send no message for the same cycle for so long."""
    _on_cache(lambda: cache.set(_pace_key(*wakeup), time() + seconds, timeout=1))


def _shared_pace(wakeup: Wakeup) -> float:
    """Return for how many seconds another process's message for the same cycle delays the next."""
    if wakeup[0] != RUN_CYCLE:
        return 0.0
    until = _on_cache(lambda: cache.get(_pace_key(*wakeup)))
    # Clocks of other machines may differ.
    return min(until - time(), _LONGEST_PACE) if until else 0.0


def _pace_key(task: str, subject_id: int) -> str:
    return f"wakeup:pace:{task}:{subject_id}"


def _key(task: str, subject_id: int) -> str:
    return f"wakeup:{task}:{subject_id}"
