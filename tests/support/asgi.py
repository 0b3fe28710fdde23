"""A real server for an ASGI application, in a thread of the tests."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from hypervisor.web import connections
from hypervisor.web.connections import Connection


@contextmanager
def serving(application: Any) -> Iterator[str]:
    """Serve the application; yield its URL. At the end, open responses are cut off."""
    config = uvicorn.Config(
        application,
        http=Connection, ws="none", lifespan="off", log_config=None, port=0,
        h11_max_incomplete_event_size=connections.HEADER_BYTES, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
