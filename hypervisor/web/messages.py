"""The messages of ASGI, a response that needs no application, and a call that a caller may end."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_RETRY_AFTER_S = {429: 10, 503: 2}


async def refuse(send: Send, status: int, code: str, detail: str) -> None:
    """Answer without the application, in the API's error format, and close the connection."""
    kind = "server_error" if status >= 500 else "client_error"
    errors = [{"code": code, "detail": detail, "attr": None}]
    body = json.dumps({"type": kind, "errors": errors}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status in _RETRY_AFTER_S:
        headers.append((b"retry-after", str(_RETRY_AFTER_S[status]).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def run_until(listener: "asyncio.Task[None]", call: Coroutine[Any, Any, None]) -> None:
    """Run the call until it ends or the caller disconnects, which ends the listener."""
    task = asyncio.create_task(call)
    try:
        await asyncio.wait({task, listener}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
