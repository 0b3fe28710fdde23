"""Locked, hung and stopped parts affect only requests that need them; all others are in time."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dotenv import dotenv_values
from redis import Redis

from benchmarks.client import PASSWORD
from benchmarks.service import Service, wait_until
from tests.support.service import User

_CALLS = 18
"""More than the number of the web server's threads."""

_BOUND_S = 10
"""Two rounds of callers that wait for a lock, on a busy machine."""


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


@pytest.fixture(scope="module")
def ann(service: Service) -> Iterator[User]:
    with User.newcomer(service.url, "ann", patience_s=30) as client:
        client.post("/organizations", name="Acme")
        yield client


@pytest.fixture(scope="module")
def ben(service: Service) -> Iterator[User]:
    with User.newcomer(service.url, "ben", patience_s=30) as client:
        client.post("/organizations", name="Globex")
        client.post("/clusters", name="hall", cpu=64, ram_mib="64Gi", gpu=0)
        yield client


@pytest.fixture(scope="module")
def cluster(ann: User) -> int:
    return int(ann.post("/clusters", name="forge", cpu=64, ram_mib="64Gi", gpu=0)["id"])


def database(service: Service) -> "psycopg.Connection[Any]":
    url = dotenv_values(service.home / "env")["DATABASE_URL"]
    return psycopg.connect(str(url), autocommit=True)


@contextmanager
def locked(service: Service, cluster: int) -> Iterator[None]:
    with database(service) as holder, holder.transaction():
        holder.execute("SELECT FROM clusters_cluster WHERE id = %s FOR NO KEY UPDATE", [cluster])
        yield


@contextmanager
def parameter(service: Service, name: str, value: str) -> Iterator[None]:
    """Change a server parameter for all sessions that do not set it."""
    with database(service) as operator:
        try:
            operator.execute(f"ALTER SYSTEM SET {name} = {value}")
            operator.execute("SELECT pg_reload_conf()")
            yield
        finally:
            operator.execute("SET default_transaction_read_only = off")
            operator.execute(f"ALTER SYSTEM RESET {name}")
            operator.execute("SELECT pg_reload_conf()")


@contextmanager
def away(service: Service, name: str) -> Iterator[None]:
    """Stop a server of the service and keep the supervisor from restarting it in the block."""
    service.up.send_signal(signal.SIGSTOP)
    try:
        service.processes()[name].kill()
        yield
    finally:
        service.up.send_signal(signal.SIGCONT)


@contextmanager
def hung(service: Service, name: str) -> Iterator[None]:
    process = service.processes()[name]
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


def fetch(
    service: Service,
    path: str,
    method: str = "GET",
    *,
    token: str = "",
    cookie: str = "",
    body: Any = None,
) -> Answer:
    """Make one call on a new connection and return the response unchecked."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if cookie:
        headers["Cookie"] = cookie
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return Answer(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        )
    finally:
        connection.close()


def token_of(service: Service, username: str) -> str:
    body = {"username": username, "password": PASSWORD}
    return str(json.loads(fetch(service, "/token", "POST", body=body).text)["access_token"])


def checks(ready: Answer) -> dict[str, str]:
    return dict(json.loads(ready.text)["checks"])


def assert_unavailable(answer: Answer, code: str) -> None:
    assert (answer.status, json.loads(answer.text)["errors"][0]["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) > 0


def waiting_for_locks(service: Service) -> int:
    with database(service) as watcher:
        row = watcher.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return int(row.fetchone()[0])  # type: ignore[index]


def seconds(call: Any, *arguments: Any, **named: Any) -> float:
    began = time.monotonic()
    call(*arguments, **named)
    return time.monotonic() - began


def test_a_locked_cluster_delays_no_other_organization(
    service: Service, ann: User, ben: User, cluster: int
) -> None:
    with locked(service, cluster):
        waiting = [ann.deploy(f"waits-{n}") for n in range(3)]
        others = [ben.deploy(f"goes-on-{n}") for n in range(20)]
        for deployment in others:
            ben.wait_for(deployment, "running")
        assert {ann.status(deployment) for deployment in waiting} == {"pending"}

    for deployment in waiting:
        ann.wait_for(deployment, "running")


def test_callers_that_wait_for_a_lock_get_a_503_and_delay_no_other_caller(
    service: Service, ann: User, ben: User, cluster: int
) -> None:
    token = token_of(service, "ann")

    def rename(number: int) -> Answer:
        body = {"name": f"forge-{number}"}
        return fetch(service, f"/clusters/{cluster}", "PATCH", token=token, body=body)

    with ThreadPoolExecutor(_CALLS) as pool, locked(service, cluster):
        futures = [pool.submit(rename, number) for number in range(_CALLS)]
        wait_until(lambda: waiting_for_locks(service) > 4, "they wait")
        worst = max(seconds(fetch, service, "/healthz") for _ in range(5))
        other = seconds(ben.get, "/me")
        answers = [future.result(60) for future in futures]

    assert {answer.status for answer in answers} == {503}
    assert all('"locked"' in answer.text for answer in answers)
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    assert worst < 2
    assert other < _BOUND_S


def test_a_hung_broker_does_not_delay_a_submission(service: Service, ben: User) -> None:
    ben.deploy("before")
    with hung(service, "valkey"):
        took = sorted(seconds(ben.deploy, f"hung-{n}") for n in range(10))
        log_ins = sorted(seconds(ben.log_in, "ben") for _ in range(5))
        ready = fetch(service, "/readyz")

    # No submission waits for the broker. One log-in in five seconds does, for its rate limit.
    assert took[len(took) // 2] < 1
    assert log_ins[2] < 2
    assert (ready.status, checks(ready)["broker"]) == (200, "unreachable")


def test_a_broker_that_refuses_writes_is_reported_and_submissions_are_accepted(
    service: Service, ben: User
) -> None:
    url = dotenv_values(service.home / "env")["REDIS_URL"]
    with Redis.from_url(str(url)) as valkey:
        valkey.config_set("maxmemory", 1)
        try:
            ben.deploy("accepted")
            ben.log_in("ben")
            ready = fetch(service, "/readyz")
        finally:
            valkey.config_set("maxmemory", 0)

    assert (ready.status, checks(ready)["broker"]) == (200, "refuses writes")


def test_a_read_only_database_refuses_writes_and_serves_reads(service: Service, ben: User) -> None:
    token = token_of(service, "ben")
    with parameter(service, "default_transaction_read_only", "on"):
        wait_until(lambda: checks(fetch(service, "/readyz"))["database"] == "read-only", "it is so")
        ready = fetch(service, "/readyz")
        read = fetch(service, "/deployments", token=token)
        refused = fetch(service, "/organizations", "POST", token=token, body={"name": "Late"})
        page = fetch(service, "/account/sign-in/?next=/admin/")

    assert (ready.status, read.status, page.status) == (503, 200, 200)
    assert_unavailable(refused, "database_read_only")


def test_a_database_without_free_connections_is_a_503(service: Service, ben: User) -> None:
    token = token_of(service, "ben")
    connections: list[psycopg.Connection[Any]] = []

    def unreachable() -> bool:
        """Take the connections that are free by now, then ask."""
        with suppress(psycopg.OperationalError):
            while True:
                connections.append(database(service))
        ready = fetch(service, "/readyz")
        return (ready.status, checks(ready)["database"]) == (503, "unreachable")

    try:
        wait_until(unreachable, "the web server gets no connection")
        answers = [fetch(service, "/me", token=token) for _ in range(30)]
    finally:
        for connection in connections:
            connection.close()

    assert {answer.status for answer in answers} <= {200, 503}
    wait_until(lambda: fetch(service, "/readyz").status == 200, "it is ready again")


def test_a_stopped_database_is_a_503_and_not_a_failure(service: Service, ben: User) -> None:
    token = token_of(service, "ben")
    with away(service, "postgres"):
        ready = fetch(service, "/readyz")
        answers = [
            fetch(service, "/deployments", token=token),
            fetch(service, "/clusters", "POST", token=token, body={"name": "x"}),
            fetch(service, "/token", "POST", body={"username": "ben", "password": PASSWORD}),
        ]
        pages = [
            fetch(service, path, cookie=f"sessionid={'x' * 32}")
            for path in ("/admin/", "/admin/queue/", "/account/sign-in/")
        ]
        alive = fetch(service, "/healthz")

    for answer in answers:
        assert_unavailable(answer, "database_unavailable")
    assert (ready.status, alive.status) == (503, 200)
    for page in pages:
        assert (page.status, page.headers["content-type"][:9]) == (503, "text/html")
        assert "The database does not answer" in page.text
    wait_until(lambda: fetch(service, "/readyz").status == 200, "it is ready again")
    ben.wait_for(ben.deploy("afterwards"), "running")


def test_a_full_disk_is_a_503_and_not_a_failure(small_disk: Path) -> None:
    service = Service(small_disk / "home")
    service.start()
    try:
        with User.newcomer(service.url, "eve", patience_s=30) as eve:
            eve.post("/organizations", name="Initech")
            eve.post("/clusters", name="rack", cpu=64, ram_mib="64Gi", gpu=0)
            token = token_of(service, "eve")
            filler = small_disk / "filler"
            fill(filler)
            jobs = [{"name": "x" * 200, "image": "x:1", "cpu": 1, "ram_mib": 1}] * 500
            answers = [
                fetch(service, "/deployments/bulk", "POST", token=token, body={"deployments": jobs})
                for _ in range(5)
            ]
            ready = fetch(service, "/readyz")
            filler.unlink()
            wait_until(lambda: fetch(service, "/readyz").status == 200, "it is ready again")
            eve.deploy("afterwards")
    finally:
        service.stop()

    assert {answer.status for answer in answers} <= {201, 503}
    assert_unavailable(answers[-1], "database_full")
    assert (ready.status, checks(ready)["database"]) == (503, "full")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A separate small file system."""
    if os.geteuid() or run_quietly("mount", "-t", "tmpfs", "-o", "size=300m", "none", tmp_path):
        pytest.skip("only root may mount a small disk")
    try:
        yield tmp_path
    finally:
        run_quietly("umount", "--lazy", tmp_path)


def run_quietly(*command: object) -> int:
    return subprocess.run([str(word) for word in command], capture_output=True).returncode


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while stream.write(bytes(2**16)):
            pass
