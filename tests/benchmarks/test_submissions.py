"""The bench `submissions` on a running service, in small."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psycopg
import pytest

from benchmarks import submissions
from benchmarks.client import Client
from benchmarks.hammer import hammer
from benchmarks.service import Service
from benchmarks.submissions import Target, compare_bulks, compare_singles
from tests.support import prepared


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    service = Service(prepared.home(tmp_path_factory.mktemp("bench") / "home"))
    try:
        service.start()
        yield Target.of(service)
    finally:
        service.stop()


def count(target: Target) -> int:
    with Client(target.url, target.token) as client:
        return len(client.list("/deployments"))


def test_all_requests_of_all_clients_and_rounds_are_accepted(target: Target) -> None:
    before = count(target)

    lines = list(compare_singles(target, target, clients=3, count=12, rounds=1))

    # A round to warm up and one to measure, of the service and of its rival, here itself.
    assert count(target) - before == 4 * 12
    assert [line.split(":")[0] for line in lines] == [
        "3 clients, one by one", "3 clients, FastAPI and SQLAlchemy", "3 clients",
    ]  # fmt: skip
    assert set(target.processes) >= {"web", "worker", "engines", "beat", "postgres", "valkey"}
    assert "web " in lines[0]


def test_bulks_are_compared_with_single_inserts(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "_BULK", 20)
    before = count(target)

    lines = list(compare_bulks(target, bulks=1, seconds=1, rounds=1))

    assert count(target) - before == 20
    assert len(lines) == 3
    with psycopg.connect(target.database) as connection:
        (left,) = connection.execute("SELECT to_regclass('single')").fetchone() or ("?",)
    assert left is None


class _Refuses(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(409)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_a_refused_request_ends_the_bench() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(RuntimeError, match="409"):
                hammer(f"http://127.0.0.1:{server.server_port}/x", "", lambda _: [{}], clients=2)
        finally:
            server.shutdown()
            thread.join()
