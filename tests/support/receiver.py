"""A real server that receives webhooks, over HTTP or TLS, and answers as a test says."""

import queue
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook as Verifier

from tests.support.certificates import Pair

PATIENCE_S = 100


@dataclass(frozen=True, slots=True)
class Received:
    """A request, as it came over the connection."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """Return the message that the reference library of Standard Webhooks verifies."""
        return Verifier(secret).verify(self.body, self.headers)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    wait: threading.Event | None = None
    """The response is sent once the event is set."""
    flood: bytes = b""
    """This is sent again and again instead of the response, until the sender hangs up."""


OK = Reply()


class Receiver:
    """`reply` decides on the response to each request; all requests are in `received`."""

    def __init__(self, reply: Callable[[Received], Reply] = lambda _: OK) -> None:
        self.reply = reply
        self.received: queue.Queue[Received] = queue.Queue()
        self.connections = 0
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    def next(self) -> Received:
        """Return the next request, and wait for it."""
        return self.received.get(timeout=PATIENCE_S)

    def take(self, count: int) -> list[Received]:
        return [self.next() for _ in range(count)]

    def is_quiet(self, seconds: float = 1.5) -> bool:
        """Return whether no request comes for a while."""
        try:
            self.received.get(timeout=seconds)
        except queue.Empty:
            return True
        return False


@contextmanager
def receiving(
    reply: Callable[[Received], Reply] = lambda _: OK,
    *,
    tls: Pair | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Receiver]:
    receiver = Receiver(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            receiver.connections += 1

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = Received(self.path, headers, self.rfile.read(length))
            answer = receiver.reply(received)
            receiver.received.put(received)
            if answer.wait is not None:
                answer.wait.wait(PATIENCE_S)
            while answer.flood:
                self.wfile.write(answer.flood)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # A sender may hang up at any time.

    server = Server((address, port), Handler)
    if tls is not None:
        receiver.scheme = "https"
        server.socket = _context(tls).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join(PATIENCE_S)
        server.server_close()


def _context(pair: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_text(pair.certificate)
        key.write_text(pair.key)
        context.load_cert_chain(certificate, key)
    return context


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
