"""Passes the calls that follow events on to the process that serves them.

So callers need one address. The connection of a follower costs this process a few kilobytes and no
thread. A proxy in front of the service may pass these paths on by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import h11
import structlog

from hypervisor.web.bridge import Bridge
from hypervisor.web.messages import Receive, Scope, Send, refuse, run_until

PATHS = ("/events", "/events/stream")

_CONNECT_S = 3.0
_READ_BYTES = 64 * 1024
_OF_CONNECTIONS = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"date"}
"""Headers about one connection, in lower case."""

log = structlog.get_logger(__name__)


class Forwarding:
    """An ASGI application that forwards followers to `url`, at most `limit` at once."""

    def __init__(self, application: Bridge, url: str, *, limit: int) -> None:
        address = urlsplit(url)
        self._application = application
        self._host, self._port = address.hostname or "localhost", address.port or 80
        self._limit = limit
        self._forwarded = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in PATHS or scope["method"] != "GET" or _has_body(scope):
            await self._application(scope, receive, send)
        elif self._forwarded >= self._limit:
            await refuse(send, 429, "busy", "Too many callers follow events. Try again later.")
        else:
            self._forwarded += 1
            try:
                await self._forward(scope, receive, send)
            finally:
                self._forwarded -= 1

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward until the response ends or the caller disconnects."""
        listener = asyncio.create_task(_disconnected(receive))
        try:
            await run_until(listener, self._exchange(scope, send))
        finally:
            listener.cancel()

    async def _exchange(self, scope: Scope, send: Send) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:  # a TimeoutError is one
            log.warning("events_unreachable", error=str(error))
            await refuse(send, *_AWAY)
            return
        try:
            client = h11.Connection(h11.CLIENT)
            writer.write(client.send(_request(scope)) + client.send(h11.EndOfMessage()))
            await _respond(client, reader, send)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()


_AWAY = (503, "events_unavailable", "Events cannot be followed at present. Repeat the call.")


def _has_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _request(scope: Scope) -> h11.Request:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    kept = [(name, value) for name, value in scope["headers"] if name not in _OF_CONNECTIONS]
    return h11.Request(
        method="GET",
        target=scope["raw_path"] + query,
        headers=[*kept, (b"connection", b"close")],
    )


async def _respond(client: h11.Connection, reader: asyncio.StreamReader, send: Send) -> None:
    """Send the response as it comes; one with a length is sent when it is complete.

    A stream whose server dies ends like any other, and the follower resumes.
    """
    start, whole = None, b""
    async for event in _events(client, reader):
        if isinstance(event, h11.Response):
            headers = [(n, v) for n, v in event.headers if n not in _OF_CONNECTIONS]
            start = {"type": "http.response.start", "status": event.status_code, "headers": headers}
            is_stream = b"content-length" not in dict(headers)
            if is_stream:
                await send(start)
        elif isinstance(event, h11.Data) and start is not None:
            if is_stream:
                piece = bytes(event.data)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            else:
                whole += event.data
        elif isinstance(event, h11.EndOfMessage) and start is not None and not is_stream:
            await send(start)
            await send({"type": "http.response.body", "body": whole})
            return
    if start is None or not is_stream:
        await refuse(send, *_AWAY)
    else:
        await send({"type": "http.response.body", "body": b""})


async def _events(
    client: h11.Connection, reader: asyncio.StreamReader
) -> AsyncIterator[h11.Response | h11.Data | h11.EndOfMessage]:
    """Yield the parts of the response, until its end or until the server is gone."""
    while True:
        try:
            event = client.next_event()
            if event is h11.NEED_DATA:
                client.receive_data(await reader.read(_READ_BYTES))
                continue
        except (OSError, h11.RemoteProtocolError):
            return
        if not isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
            return
        yield event
        if isinstance(event, h11.EndOfMessage):
            return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
