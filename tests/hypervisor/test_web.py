"""The web server: real connections to an event loop with small limits."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import uvicorn
from django.core.exceptions import RequestDataTooBig

from hypervisor.web import bridge, connections
from hypervisor.web.bridge import Bridge
from hypervisor.web.connections import Connection, Wire
from hypervisor.web.followers import Followers

BODY_LIMIT = 1000
LARGE = 8_000_000


class Stream:
    """An endless response that records when it is closed."""

    streaming = True

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"line\n"
            time.sleep(0.02)  # like a container that writes from time to time

    def close(self) -> None:
        self.closed.set()


class Web:
    """A server with one thread for requests and two for streams."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.may_go_on = threading.Event()
        self.began = threading.Event()
        self.bridge = Bridge(
            self.application, threads=1, streams=2, body_limit=BODY_LIMIT, followers=Followers(1)
        )
        config = uvicorn.Config(
            self.bridge,
            http=Connection, ws="none", lifespan="off", log_config=None, port=0,
            h11_max_incomplete_event_size=connections.HEADER_BYTES, timeout_graceful_shutdown=5,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        asyncio.run(self._server.serve([self._listener]))

    def stop(self) -> None:
        self._server.should_exit = True

    def join(self, seconds: float = 10) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def application(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/stream":
            start_response("200 OK", [])
            self.streams.append(Stream())
            return self.streams[-1]
        if path == "/wait":
            self.began.set()
            assert self.may_go_on.wait(10)
        try:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        except RequestDataTooBig:
            start_response("413 Too Large", [("Content-Length", "0")])
            return []
        names = {k: v for k, v in environ.items() if isinstance(v, str)}
        answer = b"x" * LARGE if path == "/large" else json.dumps([names, body.decode()]).encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    def connect(self, source: str = "127.0.0.1", receive: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.bind((source, 0))
        connection.settimeout(10)
        connection.connect(("127.0.0.1", self._port))
        return connection

    def ask(self, head: str, body: bytes = b"", source: str = "127.0.0.1") -> tuple[int, Any]:
        """Send one request; return its status and its body."""
        with closing(self.connect(source)) as connection:
            connection.sendall(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body)
            head_and_body = everything(connection).partition(b"\r\n\r\n")
            return int(head_and_body[0].split()[1]), json.loads(head_and_body[2] or b"null")


def drip(connection: socket.socket, seconds_each: float) -> int:
    """Send single bytes at this pace until the server hangs up; return how many were sent."""
    for sent in range(500):
        try:
            connection.sendall(b"G")
        except ConnectionError:
            return sent
        time.sleep(seconds_each)
    return 500


def everything(connection: socket.socket) -> bytes:
    """Return everything that the server sends until it hangs up."""
    received = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(connections, "SWEEP_S", 0.05)
    web = Web()
    yield web
    web.may_go_on.set()
    web.stop()
    assert web.join()


# --- Requests -------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_sent(web: Web) -> None:
    status, (environ, body) = web.ask(
        "POST /a%20b/%C3%A5?q=%20 HTTP/1.1\r\nContent-Length: 3\r\nContent-Type: text/x\r\nX-A: 1",
        b"abc",
    )

    assert (status, body) == (200, "abc")
    assert environ["PATH_INFO"].encode("latin1").decode() == "/a b/å"
    assert environ["QUERY_STRING"] == "q=%20"
    assert (environ["CONTENT_TYPE"], environ["HTTP_X_A"]) == ("text/x", "1")
    assert environ["REMOTE_ADDR"] == "127.0.0.1"


def test_a_response_is_sent_in_one_piece() -> None:
    loop, sent = asyncio.new_event_loop(), []

    class Transport:
        def write(self, data: bytes) -> None:
            sent.append(data)

        def close(self) -> None:
            sent.append(b"closed")

        def get_write_buffer_size(self) -> int:
            return 0

    wire = Wire(Transport(), loop)  # type: ignore[arg-type]
    for piece in (b"headers", b"body", b""):
        wire.write(piece)
    loop.call_soon(loop.stop)
    loop.run_forever()
    wire.write(b"last words")
    wire.close()
    loop.close()

    assert sent == [b"headersbody", b"last words", b"closed"]
    assert wire.sent == len(b"headersbodylast words")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_chunked_body_is_read_like_any_other(web: Web, method: str) -> None:
    status, (environ, body) = web.ask(
        f"{method} / HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )

    assert (status, body, environ["CONTENT_LENGTH"]) == (200, "abcde", "5")
    assert "HTTP_TRANSFER_ENCODING" not in environ


def test_a_body_over_the_limit_is_answered_and_discarded(web: Web) -> None:
    with closing(web.connect()) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        for _ in range(3):
            connection.sendall(b"x" * 50_000)
            time.sleep(0.05)  # so that the response comes in between
        connection.sendall(
            b"x" * 150_000 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )

        answers = everything(connection)

    assert answers.count(b"HTTP/1.1 413 ") == 1
    assert answers.count(b"HTTP/1.1 200 ") == 1


def test_a_header_with_an_underscore_cannot_replace_another(web: Web) -> None:
    _, (environ, _) = web.ask("GET / HTTP/1.1\r\nX_Forwarded_Proto: https\r\nX-Request-ID: 7")

    assert "HTTP_X_FORWARDED_PROTO" not in environ
    assert environ["HTTP_X_REQUEST_ID"] == "7"


def test_headers_over_the_limit_are_refused(web: Web) -> None:
    with closing(web.connect()) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 2 * connections.HEADER_BYTES)

        assert everything(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("after", [b"", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_body_with_two_lengths_ends_the_connection(web: Web, after: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(web.connect()) as connection:
        connection.sendall(head + b"0\r\n\r\n" + after)

        answers = everything(connection)

    assert answers.startswith(b"HTTP/1.1 400 ")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_a_bad_chunk_after_the_response_ends_the_connection_silently(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(web.connect()) as connection:
        connection.sendall(head + b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"
        connection.sendall(b"no chunk\r\n")

        everything(connection)

    assert "Fatal error" not in caplog.text


@pytest.mark.parametrize("target", ["http://[/", "http://[zz]/", "*", "http://x"])
def test_an_unusual_target_is_a_path_like_any_other(web: Web, target: str) -> None:
    assert web.ask(f"GET {target} HTTP/1.1")[0] == 200


# --- Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHo"])
def test_missing_headers_end_the_connection(
    web: Web, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.3)
    with closing(web.connect()) as connection:
        connection.sendall(sent)

        assert everything(connection) == b""


def test_headers_that_come_byte_by_byte_end_the_connection(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADERS_S", 0.3)
    with closing(web.connect()) as connection:
        sent = drip(connection, seconds_each=0.02)

    assert sent < 500


def test_a_missing_body_is_answered_with_408(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "BODY_S", 0.3)

    status, answer = web.ask("POST / HTTP/1.1\r\nContent-Length: 10", b"half")

    assert status == 408
    assert answer["errors"][0]["code"] == "timeout"


def test_a_caller_that_reads_a_large_response_too_slowly_is_disconnected(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READER_S", 0.3)
    with closing(web.connect(receive=4096)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(10) == b"HTTP/1.1 2"
        wait_until(lambda: not web._server.server_state.connections)

        assert len(everything(connection)) < LARGE


def test_a_caller_that_reads_slowly_but_steadily_gets_everything(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READER_S", 0.3)
    with closing(web.connect(receive=65536)) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        while piece := connection.recv(200_000):
            received += len(piece)
            time.sleep(0.01)  # much slower than the server

    assert received > LARGE


# --- Number ---------------------------------------------------------------------------------------


def test_at_the_limit_of_connections_the_longest_waiting_one_is_closed(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    few = web.connect("127.0.0.2")
    many = [web.connect("127.0.0.3") for _ in range(3)]

    assert many[0].recv(1) == b""
    assert web.ask("GET / HTTP/1.1", source="127.0.0.4")[0] == 200
    assert many[1].recv(1) == b""
    few.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert few.recv(10) == b"HTTP/1.1 2"
    for connection in (few, *many):
        connection.close()


def test_several_connections_are_closed_at_once_so_that_a_flood_costs_little(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 100)
    opened = [web.connect() for _ in range(101)]

    wait_until(lambda: len(web._server.server_state.connections) == 99)

    assert everything(opened[0]) == everything(opened[1]) == b""
    for connection in opened:
        connection.close()


def test_a_new_connection_is_refused_while_requests_run_on_all_others(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 1)
    with closing(web.connect()) as busy:
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert web.began.wait(10)

        assert web.ask("GET / HTTP/1.1")[0] == 503

        web.may_go_on.set()
        assert busy.recv(10) == b"HTTP/1.1 2"


def test_the_connection_with_the_largest_body_is_closed_at_the_memory_limit(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUFFERED_BYTES", 700)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
    with closing(web.connect()) as small, closing(web.connect()) as large:
        small.sendall(head + b"x" * 100)
        large.sendall(head + b"x" * 800)

        assert everything(large) == b""
        small.sendall(b"x" * 800)
        assert small.recv(10) == b"HTTP/1.1 2"


def test_a_large_request_too_many_gets_503(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "BODIES_BYTES", 900)
    head = "POST {} HTTP/1.1\r\nContent-Length: 500"
    busy = f"{head.format('/wait')}\r\nHost: x\r\n\r\n".encode() + b"x" * 500
    with closing(web.connect()) as connection:
        connection.sendall(busy)
        assert web.began.wait(10)

        status, refusal = web.ask(head.format("/"), b"x" * 500)
        web.may_go_on.set()

        assert (status, refusal["errors"][0]["code"]) == (503, "busy")
        assert connection.recv(10) == b"HTTP/1.1 2"
    assert web.ask(head.format("/"), b"x" * 500)[0] == 200


def test_a_request_does_not_run_if_its_caller_hangs_up_before_a_thread_is_free(web: Web) -> None:
    with closing(web.connect()) as busy, closing(web.connect()) as impatient:
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert web.began.wait(10)
        impatient.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: len(web._server.server_state.tasks) == 2)
        impatient.close()
        wait_until(lambda: len(web._server.server_state.connections) == 1)

        web.may_go_on.set()

        assert busy.recv(10) == b"HTTP/1.1 2"
    assert web.ask("GET / HTTP/1.1")[0] == 200
    assert not web.streams


def test_a_body_of_many_small_chunks_is_refused_early(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.bridge, "_body_limit", LARGE)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(web.connect()) as connection:
        connection.sendall(head + b"1\r\nx\r\n" * (connections.SMALL_CHUNKS + 1))

        assert everything(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("size", [1, connections.CHUNK_BYTES])
def test_a_body_of_few_small_or_of_many_larger_chunks_is_read(
    web: Web, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(web.bridge, "_body_limit", LARGE)
    number = connections.SMALL_CHUNKS * (1 if size == 1 else 3)
    chunks = f"{size:x}\r\n{'x' * size}\r\n".encode() * number

    status, (_, body) = web.ask(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked", chunks + b"0\r\n\r\n"
    )

    assert (status, len(body)) == (200, size * number)


def test_slow_callers_occupy_no_thread(web: Web) -> None:
    slow = [web.connect() for _ in range(100)]
    for number, connection in enumerate(slow):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
        connection.sendall(head if number % 2 else head[:20])

    assert web.ask("GET / HTTP/1.1")[0] == 200
    for connection in slow:
        connection.close()


# --- Streams --------------------------------------------------------------------------------------


def open_stream(web: Web) -> socket.socket:
    count = len(web.streams)
    connection = web.connect()
    connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: len(web.streams) > count)
    assert connection.recv(10) == b"HTTP/1.1 2"
    return connection


def test_streams_occupy_no_thread_for_requests(web: Web) -> None:
    streams = [open_stream(web) for _ in range(2)]

    assert web.ask("GET / HTTP/1.1")[0] == 200
    for connection in streams:
        connection.close()


def test_a_stream_is_closed_when_its_caller_hangs_up(web: Web) -> None:
    open_stream(web).close()

    assert web.streams[0].closed.wait(5)


def test_a_stream_is_closed_when_its_caller_reads_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "READER_S", 0.3)
    monkeypatch.setattr(Stream, "__iter__", lambda self: iter(lambda: b"x" * 65536, b""))
    with closing(open_stream(web)):
        assert web.streams[0].closed.wait(10)


# --- Stopping -------------------------------------------------------------------------------------


def test_a_running_request_is_answered_while_the_server_stops(web: Web) -> None:
    with closing(web.connect()) as connection, closing(web.connect()) as half:
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert web.began.wait(10)

        web.stop()
        assert everything(half) == b""
        web.may_go_on.set()

        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_streams_are_aborted_when_the_server_stops(web: Web) -> None:
    with closing(open_stream(web)):
        web.stop()

        assert web.join(5)
        assert web.streams[0].closed.wait(5)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_followers_leave_the_connections_of_other_calls_alone(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 1)
    monkeypatch.setattr(connections, "_followers", 2)
    with closing(web.connect()) as first, closing(web.connect()) as second:
        for each in (first, second):
            each.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert each.recv(100).startswith(b"HTTP/1.1 200")

        assert web.ask("GET / HTTP/1.1")[0] == 200
