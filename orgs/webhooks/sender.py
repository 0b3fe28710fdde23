"""Send to webhooks, from the event loop of the process that serves followers of events.

A receiver that answers slowly occupies a coroutine, and no thread. A webhook has one message under
way at a time, so that its events arrive in their order.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from hypervisor.base.threads import in_thread
from orgs.webhooks import outbox
from orgs.webhooks.attempts import Receiver
from orgs.webhooks.outbox import Batch, Turn
from orgs.webhooks.signing import headers

POLL_S = 0.5
"""How often events and deliveries to send are looked for."""

AT_ONCE, AT_ONCE_EACH = 200, 4
"""How many webhooks a process sends to at once, and how many of them are of one organization."""

TURN_S = 10.0
"""After so long, it is the turn of another webhook."""

_THREADS = 2
"""Each has a session with the database."""

_OUTAGE_S = 5.0
_GRACE_S = 1.5

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Sender:
    """Sends until it is stopped."""

    def __init__(self) -> None:
        self._turns: dict[asyncio.Task[None], Turn] = {}
        self._stopping = asyncio.Event()
        self._database = ThreadPoolExecutor(_THREADS, "webhooks")

    async def run(self) -> None:
        """Send until `stop`, whatever fails meanwhile.

        Then the attempts that are under way may end for a moment. One that is cut off is repeated
        by another sender.
        """
        while not self._stopping.is_set():
            pause_s = POLL_S
            try:
                await self._begin_turns()
            except Exception:
                log.warning("webhooks_not_read", exc_info=True)
                pause_s = _OUTAGE_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
        await self._end_turns()
        await self._close_sessions()

    def stop(self) -> None:
        self._stopping.set()

    async def _end_turns(self) -> None:
        if not self._turns:
            return
        _, late = await asyncio.wait(list(self._turns), timeout=_GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _close_sessions(self) -> None:
        """Close the session of each thread with the database, which only the thread itself can."""
        loop, together = asyncio.get_running_loop(), threading.Barrier(_THREADS)
        closing = [
            loop.run_in_executor(self._database, _close_session, together) for _ in range(_THREADS)
        ]
        await asyncio.gather(*closing)
        self._database.shutdown()

    async def _begin_turns(self) -> None:
        busy = Counter(turn.organization for turn in self._turns.values())
        found = await self._query(
            partial(
                outbox.claim,
                timezone.now(),
                most=AT_ONCE - len(self._turns),
                each=AT_ONCE_EACH,
                busy=busy,
            )
        )
        for turn in found:
            task = asyncio.create_task(self._turn(turn))
            self._turns[task] = turn
            task.add_done_callback(self._turns.pop)

    async def _turn(self, turn: Turn) -> None:
        """Send what there is for one webhook, until an attempt fails or the time is up."""
        postponed = False
        try:
            await self._send_all(turn)
        except (OperationalError, InterfaceError):
            # During an outage, a message may have been sent without a record: it is sent again.
            log.warning("webhook_interrupted", webhook=turn.webhook, exc_info=True)
        except Exception:
            log.exception("webhook_not_sent", webhook=turn.webhook)
            postponed = True
        finally:
            with suppress(Exception):
                await self._query(
                    partial(outbox.release, turn, timezone.now(), postponed=postponed)
                )

    async def _send_all(self, turn: Turn) -> None:
        ends = time.monotonic() + TURN_S
        batch = await self._query(partial(outbox.load, turn, timezone.now()))
        if batch is None:
            return
        async with Receiver(batch.url) as receiver:
            while batch is not None:
                if not await self._send(turn, batch, receiver, ends):
                    return
                await self._query(partial(outbox.advance, turn, batch.position, timezone.now()))
                batch = await self._query(partial(outbox.load, turn, timezone.now()))

    async def _send(self, turn: Turn, batch: Batch, receiver: Receiver, ends: float) -> bool:
        """Send the messages; return whether all of them were sent."""
        for job in batch.jobs:
            if self._stopping.is_set() or time.monotonic() > ends:
                return False
            now = timezone.now()
            message = job.message
            signed = headers(
                message.id, message.body, timestamp=int(now.timestamp()), keys=batch.keys
            )
            outcome = await receiver.post(message.body, signed, now)
            log.debug("webhook_attempt", webhook=turn.webhook, id=message.id, error=outcome.error)
            record = partial(outbox.record, turn, job, outcome, timezone.now())
            if not await self._query(record):
                return False
        return True

    async def _query(self, call: Callable[[], T]) -> T:
        return await in_thread(self._database, call)


def _close_session(together: threading.Barrier) -> None:
    with suppress(threading.BrokenBarrierError):
        together.wait(_GRACE_S)
    connections.close_all()
