"""Limits on the time that one connection may take, and on the number and memory of all."""

import asyncio
import resource
from collections import Counter
from enum import Enum
from heapq import nsmallest
from typing import Any
from weakref import WeakKeyDictionary

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEADERS_S = 10.0
"""Time from a request's first byte, or from the start of the connection, to complete headers."""

BODY_S = 30.0
"""Time from the headers to the complete body."""

IDLE_S = 15
"""How long a connection stays open between two requests."""

READER_S, READER_BYTES = 20.0, 64 * 1024
"""In each such period a caller must read this much of its response, or the rest of it."""

HEADER_BYTES = 32 * 1024
CONNECTIONS = 1000
"""Open connections of one process, followers of events apart; beyond it, connections that wait for
callers are closed."""

BUFFERED_BYTES = 256 * 1024 * 1024
"""Memory limit of unfinished bodies and unread responses; the largest are dropped first."""

READ_BYTES = 16 * 1024
"""How much is read from one connection before it is the others' turn."""

SMALL_CHUNKS, CHUNK_BYTES = 1000, 256
"""The first SMALL_CHUNKS chunks of a body may have any size; a body of more chunks must have
CHUNK_BYTES for each on average.

A chunk of any size costs the event loop about 20 microseconds.
"""

SWEEP_S = 1.0

_RESERVED_FILES = 200
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

log = structlog.get_logger(__name__)


class Phase(Enum):
    """What a connection waits for: in all phases but the last, it waits for its caller."""

    HEADERS = "headers"
    BODY = "body"
    READER = "reader"
    APPLICATION = "application"


class Parser(h11.Connection):
    """Also refuses input that is expensive to parse or that a proxy may parse differently."""

    _chunks = 0
    _size = 0

    def next_event(self) -> Any:
        """Return the next event, as h11 does."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._size = 0
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("two lengths")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_end
            self._size += len(event.data)
            if self._chunks > SMALL_CHUNKS and self._size < self._chunks * CHUNK_BYTES:
                raise h11.RemoteProtocolError("small chunks")
        return event


class Connection(H11Protocol):
    """An HTTP connection that records what it waits for, and since when."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = Parser(h11.SERVER, HEADER_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self.since = self.loop.time()
        self.received = 0
        self.wire = Wire(transport, self.loop)
        self.pace = (self.since, 0)
        super().connection_made(self.wire)  # type: ignore[arg-type]
        Guard.of(self.server_state).admit(self)

    def data_received(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:  # the first byte after an idle time
            self.since = self.loop.time()
        self.received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle:
            self.since, self.received = self.loop.time(), len(self.cycle.body)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with 400, unless a response has begun, and close it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def on_response_complete(self) -> None:
        self.since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Let a running request finish; abort a connection that waits for its caller."""
        streams = self.cycle is not None and self.cycle.response_started
        if self.phase is Phase.BODY or (streams and not self.cycle.response_complete):
            self.transport.abort()
        else:
            super().shutdown()

    @property
    def phase(self) -> Phase:
        if self.wire.get_write_buffer_size():
            return Phase.READER
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.BODY
        if self.cycle is None or self.cycle.response_complete:
            return Phase.HEADERS
        return Phase.APPLICATION

    @property
    def buffered(self) -> int:
        """Return the bytes of memory that the connection uses while it waits for its caller."""
        body = self.received if self.conn.their_state is h11.SEND_BODY else 0
        return int(self.wire.get_write_buffer_size()) + body

    def is_overdue(self, now: float) -> bool:
        match self.phase:
            case Phase.HEADERS:
                return self.timeout_keep_alive_task is None and now - self.since > HEADERS_S
            case Phase.BODY:
                # The bridge answers at the limit; this concerns data that is sent afterwards.
                return now - self.since > BODY_S + 5
            case Phase.READER:
                return self._reads_too_slowly(now)
            case _:
                self.pace = (now, self.wire.sent)
                return False

    def _reads_too_slowly(self, now: float) -> bool:
        since, sent = self.pace
        if self.wire.sent - sent >= READER_BYTES or self.wire.was_empty:
            self.pace = (now, self.wire.sent)
            self.wire.was_empty = False
            return False
        return now - since > READER_S


class Wire:
    """A transport that counts the bytes that it has sent to the caller.

    It sends together what is written in one step of the event loop, because a response is written
    in pieces: its headers, its body and its end.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._written = 0
        self.was_empty = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data = b"".join(self._pieces)
        self._pieces.clear()
        if not data:
            return
        self.was_empty = self.was_empty or not self._transport.get_write_buffer_size()
        self._written += len(data)
        self._transport.write(data)

    @property
    def sent(self) -> int:
        return self._written - self._transport.get_write_buffer_size()


def allow_followers(number: int) -> None:
    """Raise this process's limit by the connections that followers of events keep open."""
    global _followers
    _followers = number


_followers = 0


class Guard:
    """Enforces the limits on a process's connections, once a second and at each new connection."""

    _all: "WeakKeyDictionary[ServerState, Guard]" = WeakKeyDictionary()

    def __init__(self, state: ServerState) -> None:
        self._connections: set[Any] = state.connections
        self._files = _open_files() - _RESERVED_FILES
        self._sweep()

    @classmethod
    def of(cls, state: ServerState) -> "Guard":
        if state not in cls._all:
            cls._all[state] = cls(state)
        return cls._all[state]

    def admit(self, newcomer: Connection) -> None:
        """Close waiting connections for one more; refuse it if the application uses all others."""
        if len(self._connections) <= min(CONNECTIONS + _followers, self._files):
            return
        waiting = [
            c for c in self._connections if c is not newcomer and c.phase is not Phase.APPLICATION
        ]
        if waiting:
            # Close several at once: each choice takes milliseconds, too long for every connection
            # of a flood.
            for connection in _longest_waiting(waiting, max(1, CONNECTIONS // 50)):
                _drop(connection, "too_many_connections")
        else:
            newcomer.transport.write(_BUSY)
            newcomer.transport.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [c for c in self._connections if c.is_overdue(now)]:
            _drop(connection, "too_slow")
        self._free_memory()
        loop.call_later(SWEEP_S, self._sweep)

    def _free_memory(self) -> None:
        ascending = sorted(self._connections, key=lambda c: c.buffered)
        total = sum(c.buffered for c in ascending)
        while total > BUFFERED_BYTES:
            largest = ascending.pop()
            total -= largest.buffered
            _drop(largest, "too_much_memory")


def _longest_waiting(waiting: list[Connection], number: int) -> list[Connection]:
    """Return the longest-waiting connections of the address with the most connections."""
    count = Counter(_address(c) for c in waiting)
    return nsmallest(number, waiting, key=lambda c: (-count[_address(c)], c.since))


def _address(connection: Connection) -> str:
    return connection.client[0] if connection.client else ""


def _drop(connection: Connection, reason: str) -> None:
    log.info("connection_dropped", reason=reason, phase=connection.phase.value,
             address=_address(connection))  # fmt: skip
    connection.connections.discard(connection)
    connection.transport.abort()


def _open_files() -> int:
    """Raise the limit on open files as far as the system allows; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A follower that is forwarded has two connections.
    wanted = (
        CONNECTIONS + 2 * _followers + _RESERVED_FILES if hard == resource.RLIM_INFINITY else hard
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
