"""Passes requests from the event loop to Django's WSGI application in its threads, and back."""

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote_to_bytes, urlsplit

from django.core.exceptions import RequestDataTooBig
from django.db import connections

from hypervisor.web.connections import BODY_S
from hypervisor.web.followers import Followers
from hypervisor.web.messages import Message, Receive, Send, refuse, run_until
from orgs.feed.following import Subscription

LIVENESS = "/healthz"
"""The path with a separate thread, because it needs no database."""

Application = Callable[[dict[str, Any], Any], Any]
"""A WSGI application. Django's response is more than an iterable of bytes."""

BODIES_BYTES = 128 * 1024 * 1024
"""Memory limit of the complete bodies of requests that wait for a thread or run in one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `pieces` is complete, or a stream that has to be read and closed.

    With a `subscription`, the event loop writes the body.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    pieces: Iterable[bytes]
    is_stream: bool = False
    subscription: Subscription | None = None

    @property
    def start(self) -> Message:
        return {"type": "http.response.start", "status": self.status, "headers": self.headers}


class Bridge:
    """An ASGI application that runs at most `threads` requests and `streams` streams at once.

    Calls of LIVENESS have a separate thread. Bodies of more than `body_limit` bytes are refused.
    `followers` of events need no thread.
    """

    def __init__(
        self,
        application: Application,
        *,
        threads: int,
        streams: int,
        body_limit: int,
        followers: Followers,
    ) -> None:
        self._application = application
        self._followers = followers
        self._body_limit = body_limit
        self._bodies = 0
        self._workers = ThreadPoolExecutor(threads, "web")
        self._streams = ThreadPoolExecutor(streams, "stream")
        self._liveness = ThreadPoolExecutor(1, "liveness")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._body(scope, receive)
        except TimeoutError:
            await refuse(send, *_TIMEOUT)
            return
        if body is None:
            return
        size = 0 if isinstance(body, _TooLarge) else len(body)
        if size and self._bodies + size > BODIES_BYTES:
            await refuse(send, *_BUSY)
            return
        self._bodies += size
        disconnected = threading.Event()
        listener = asyncio.create_task(_wait_for_disconnect(receive, disconnected))
        try:
            await self._answer(_environ(scope, body), send, disconnected, listener)
        finally:
            self._bodies -= size
            disconnected.set()
            listener.cancel()

    async def _answer(
        self,
        environ: dict[str, Any],
        send: Send,
        disconnected: threading.Event,
        listener: "asyncio.Task[None]",
    ) -> None:
        loop = asyncio.get_running_loop()
        # A process whose threads all wait for a lock is alive, and the liveness check must pass.
        pool = self._liveness if environ["PATH_INFO"] == LIVENESS else self._workers
        answer = await loop.run_in_executor(pool, _run, self._application, environ, disconnected)
        if answer is None:
            return
        if answer.subscription is not None:
            following = self._followers.serve(answer.subscription, answer.start, send)
            await run_until(listener, following)
            return
        if not answer.is_stream:
            await send(answer.start)
            await send({"type": "http.response.body", "body": b"".join(answer.pieces)})
            return

        def forward(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(_awaited(send(message)), loop).result()

        await loop.run_in_executor(self._streams, _pump, answer, forward, disconnected)
        await send({"type": "http.response.body", "body": b""})

    async def _body(self, scope: Message, receive: Receive) -> "bytes | _TooLarge | None":
        """Return the body, with a declared length or in chunks, or None if the caller hung up."""
        if int(dict(scope["headers"]).get(b"content-length", 0)) > self._body_limit:
            return _TooLarge()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if len(body) > self._body_limit:
                return _TooLarge()
            if not message["more_body"]:
                return bytes(body)


class _TooLarge(io.RawIOBase):
    """A placeholder for a body over the limit; the application refuses it when it reads it."""

    def read(self, size: int = -1) -> bytes:
        raise RequestDataTooBig("The body exceeds the limit.")


async def _wait_for_disconnect(receive: Receive, disconnected: threading.Event) -> None:
    """Set the event when the caller disconnects; discard the rest of a refused body."""
    while (await receive())["type"] != "http.disconnect":
        pass
    disconnected.set()


def _run(
    application: Application, environ: dict[str, Any], disconnected: threading.Event
) -> Answer | None:
    """Run the application in a worker thread, unless the caller hung up while it waited for one."""
    if disconnected.is_set():
        return None
    started: list[tuple[int, list[tuple[bytes, bytes]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        # Django begins the value of a cookie with a blank, which the server refuses.
        encoded = [(k.lower().encode("latin1"), v.strip().encode("latin1")) for k, v in headers]
        started.append((int(status[:3]), encoded))

    response = application(environ, start_response)
    status, headers = started[0]
    if subscription := getattr(response, "subscription", None):
        _close(response)
        return Answer(status, headers, (), subscription=subscription)
    is_stream = getattr(response, "streaming", False) and b"content-length" not in dict(headers)
    if is_stream:
        return Answer(status, headers, response, is_stream=True)
    try:
        return Answer(status, headers, list(response))
    finally:
        _close(response)


def _pump(
    answer: Answer, forward: Callable[[Message], None], disconnected: threading.Event
) -> None:
    """Forward a stream, in a stream thread; an empty piece only checks for a disconnect."""
    try:
        forward(answer.start)
        for piece in _without_database(answer.pieces):
            if disconnected.is_set():
                return
            if piece:
                forward({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        _close(answer.pieces)
        connections.close_all()


def _without_database(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces, without a connection to the database while waiting for the next one."""
    for piece in pieces:
        connections.close_all()
        yield piece


def _close(response: Iterable[bytes]) -> None:
    if close := getattr(response, "close", None):
        close()


async def _awaited(sending: Awaitable[None]) -> None:
    await sending


_TIMEOUT = (
    408,
    "timeout",
    f"The body was not complete within {BODY_S:.0f} seconds: send it faster.",
)
_BUSY = (503, "busy", "Too many large requests are waiting already. Repeat the call.")


def _environ(scope: Message, body: bytes | _TooLarge) -> dict[str, Any]:
    """Return the request's WSGI environment."""
    host, port = scope["server"] or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": _path(scope["raw_path"]),
        "QUERY_STRING": scope["query_string"].decode("latin1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": _whole_file,
    }
    for name, value in _headers(scope["headers"]):
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    if isinstance(body, _TooLarge):
        environ.update({"wsgi.input": body, "CONTENT_LENGTH": str(sys.maxsize)})
    else:
        environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
    return environ


def _whole_file(file: IO[bytes], _block_size: int) -> Iterator[bytes]:
    with closing(file):
        yield file.read()


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    for raw_name, value in headers:
        name = raw_name.decode("latin1").upper()
        if "_" in name or name == "TRANSFER-ENCODING":
            continue  # X_FORWARDED_PROTO would count as X-Forwarded-Proto
        key = name.replace("-", "_")
        is_plain = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        yield key if is_plain else f"HTTP_{key}", value.decode("latin1")


def _path(raw: bytes) -> str:
    """Return the path of a request target; a target sent to a proxy contains the host as well."""
    path = raw if raw.startswith(b"/") else _without_host(raw)
    return unquote_to_bytes(path).decode("latin1")


def _without_host(raw: bytes) -> bytes:
    try:
        return urlsplit(raw).path or b"/"
    except ValueError:  # invalid host, such as "["
        return raw
