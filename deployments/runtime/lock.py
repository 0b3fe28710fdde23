"""The lock of an engine: one process at a time calls it, and no worker waits for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from clusters.engines import Engine
from clusters.wakeups import RECONCILE, clear_rerun, request_rerun, rerun_requested
from hypervisor.base.errors import Conflict
from hypervisor.base.long_locks import Name, try_to_hold

_MAX_TURNS = 20
"""After this, the next periodic reconciliation continues: no engine may occupy a thread."""

_PATIENCE_S, _POLL_S = 60, 0.1


def one_at_a_time(engine: Engine, work: Callable[[], bool]) -> None:
    """Call `work` under the engine's lock; call it again while it is requested and returns true.

    If the lock is taken, set a flag and return, because a worker must not wait behind an engine
    that hangs. The flag is set before the second attempt to lock, and the lock's holder reads it
    after releasing the lock, so a request cannot be lost between the two.
    """
    flagged = answered = False
    for _ in range(_MAX_TURNS):
        with _exclusive(engine) as acquired:
            if acquired:
                clear_rerun(*engine.wakeup)
                answered = work()
        if acquired:
            if not (answered and rerun_requested(*engine.wakeup)):
                return
        elif flagged:
            return
        else:
            request_rerun(*engine.wakeup)
            flagged = True


@contextmanager
def exclusive_access(engine: Engine) -> Iterator[None]:
    """Hold the engine's lock until the end of this block, after waiting for it.

    Raises Conflict if the lock has not become free within a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        with _exclusive(engine) as acquired:
            if acquired:
                yield
                return
        if time.monotonic() > deadline:
            raise Conflict("A worker is still using this engine: try again in a minute.")
        time.sleep(_POLL_S)


def _exclusive(engine: Engine) -> AbstractContextManager[bool]:
    """Try to lock the engine until the end of a block; return whether it worked.

    Engines of single nodes share the lock of the cluster, which an engine of all its nodes has for
    itself, so that a change from one to the other is safe. The lock outlasts transactions, because
    an engine is never called inside one.
    """
    cluster = Name(RECONCILE, engine.cluster.pk, shared=engine.node is not None)
    return try_to_hold(cluster, *([] if engine.node is None else [Name(*engine.wakeup)]))
