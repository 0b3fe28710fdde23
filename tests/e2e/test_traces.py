"""A real worker sends the trace of a cycle to a collector, linked to the request that caused it."""

import json
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.service import Service, wait_until
from tests.support import prepared
from tests.support.service import User

REQUEST = "the-request-of-this-test"


class Collector(ThreadingHTTPServer):
    """A collector of OpenTelemetry, which keeps the spans that it receives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Any] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"
        Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started
        started.shutdown()


@pytest.fixture(scope="module")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has received a cluster and a submission, in requests with a known id."""
    up = Service(
        prepared.home(tmp_path_factory.mktemp("e2e") / "home"),
        TRACES_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="200",
        LOG_FORMAT="json", LOG_LEVEL="INFO",
    )  # fmt: skip
    try:
        up.start()
        with User.newcomer(up.url, "alice", patience_s=60) as alice:
            alice.post("/organizations", name="Acme")
            call(alice, "/clusters", name="rack", cpu=8, ram_mib=8192, gpu=1)
            call(alice, "/deployments", name="training", image="ml/train:1", cpu=1, ram_mib=64)
        yield up
    finally:
        up.stop()


def call(user: User, path: str, **body: Any) -> None:
    """Make a request with the known id; requests for a cycle may be merged into the first one's."""
    headers = {
        "Authorization": f"Bearer {user.token}",
        "Content-Type": "application/json",
        "X-Request-ID": REQUEST,
    }
    request = urllib.request.Request(user.url + path, json.dumps(body).encode(), headers)
    urllib.request.urlopen(request).close()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_the_trace_of_a_cycle_has_its_phases_and_the_request(
    service: Service, collector: Collector
) -> None:
    def found() -> list[Any]:
        return [span for span in collector.spans if attributes(span).get("placed") == 1]

    wait_until(found, "the cycle's span has arrived")
    (cycle,) = found()
    wait_until(lambda: len(inside(cycle, collector)) == 6, "the phases have arrived")

    phases = inside(cycle, collector)
    names = ("lock", "snapshot", "plan", "apply", "commit", "record")
    assert [phase.name for phase in phases] == [f"cycle.{name}" for name in names]
    assert phases[0].start_time_unix_nano == cycle.start_time_unix_nano
    assert phases[-1].end_time_unix_nano == cycle.end_time_unix_nano
    assert all(
        before.end_time_unix_nano == after.start_time_unix_nano
        for before, after in pairwise(phases)
    )
    assert (attributes(cycle)["trigger"], attributes(cycle)["request.id"]) == ("change", REQUEST)


def inside(cycle: Any, collector: Collector) -> list[Any]:
    spans = [s for s in collector.spans if s.parent_span_id == cycle.span_id]
    return sorted(spans, key=lambda s: (s.start_time_unix_nano, s.end_time_unix_nano))


def test_the_log_of_the_cycle_names_the_request(service: Service) -> None:
    def lines() -> list[dict[str, Any]]:
        text = (service.home / "logs" / "worker.log").read_text()
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [each for each in found if each.get("request_id") == REQUEST]

    wait_until(lambda: "cycle" in [each["event"] for each in lines()], "the cycle is logged")
