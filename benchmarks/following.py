"""Followers of events that resume after every disconnection, and check what they get."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from urllib.parse import urlsplit

_AGAIN_S = 0.1
_MOST_PROBLEMS = 10


@dataclass(slots=True)
class Seen:
    """What one follower of an organization has got, from the first event on.

    Latencies are those of events after `since`, a time in seconds since the epoch. Until it is set,
    a follower catches up with what happened before it came.
    """

    position: int = 0
    since: float = inf
    connections: int = 0
    latencies_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, number: int, happened: str) -> None:
        """Check that the event is the next one, and note how long it took to arrive."""
        if number != self.position + 1 and len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{number} came after {self.position}")
        self.position = number
        at = datetime.fromisoformat(happened).timestamp()
        if at >= self.since:
            self.latencies_s.append(time.time() - at)


async def follow(url: str, token: str, seen: Seen) -> None:
    """Follow the events of the token's organization, until this call is cancelled."""
    while True:
        with suppress(OSError, EOFError, _Refused):
            await _follow_once(url, token, seen)
        await asyncio.sleep(_AGAIN_S)


async def wait_until_connected(followers: Sequence[Seen]) -> None:
    """Wait until each follower has a stream."""
    while not all(seen.connections for seen in followers):
        await asyncio.sleep(_AGAIN_S)


async def wait_until_reached(followers: Sequence[Seen], number: int, within_s: float) -> None:
    """Wait until each follower has got the event with this number. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while any(seen.position < number for seen in followers):
            await asyncio.sleep(_AGAIN_S)


async def ended() -> None:
    """Wait until all other tasks of this event loop, which are cancelled, have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class _Refused(Exception):
    """The response has no stream."""


async def _follow_once(url: str, token: str, seen: Seen) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        # HTTP/1.0 has no chunks, so that the stream can be read line by line.
        writer.write(
            f"GET /events/stream HTTP/1.0\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {token}\r\nLast-Event-ID: {seen.position}\r\n\r\n".encode()
        )
        status = await reader.readline()
        if b" 200 " not in status:
            raise _Refused(status.decode())
        await reader.readuntil(b"\r\n\r\n")
        seen.connections += 1
        while line := await reader.readline():
            # A line without its end was cut off.
            if line.startswith(b"data: ") and line.endswith(b"\n"):
                event = json.loads(line.removeprefix(b"data: "))
                seen.add(event["number"], event["time"])
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
