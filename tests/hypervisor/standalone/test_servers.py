import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process

Start = Callable[..., tuple[Process, str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server on this test's folder; return its process and URL when it is ready."""
    processes = []

    def run(name: str, password: str = secrets.token_urlsafe()) -> tuple[Process, str]:
        make = {"postgres": servers.postgres, "valkey": servers.valkey}[name]
        service, url = make(tmp_path / name, free_port(), password, tmp_path / f"{name}.log")
        process = Process(service)
        processes.append(process)
        process.wait_until_ready()
        return process, url

    yield run
    for process in processes:
        process.stop()


def remember(url: str, value: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (value int)")
        connection.execute("INSERT INTO memory VALUES (%s)", [value])


def recall(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT value FROM memory ORDER BY value")]


def test_postgres_listens_on_loopback_only(start: Start) -> None:
    _, url = start("postgres")

    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        ).fetchone()

    assert row == ("127.0.0.1", "")


def test_postgres_refuses_a_wrong_password(start: Start) -> None:
    _, url = start("postgres", "right")

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace("right", "wrong"))


def test_postgres_handles_letters_of_every_language(start: Start) -> None:
    _, url = start("postgres")

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT lower('ÅSA')").fetchone() == ("åsa",)


@pytest.mark.parametrize(
    "failing",
    [
        "INSERT INTO person VALUES ('ada', 'hash-of-ada')",
        "INSERT INTO person VALUES (NULL, 'hash-of-ada')",
        "UPDATE person SET age = -1",
    ],
)
def test_postgres_logs_a_failing_statement_without_its_values(
    start: Start, tmp_path: Path, failing: str
) -> None:
    process, url = start("postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE person"
            " (name text PRIMARY KEY, password text, age int DEFAULT 1 CHECK (age > 0))"
        )
        connection.execute("INSERT INTO person VALUES ('ada', 'hash-of-ada')")
        with pytest.raises(psycopg.errors.IntegrityError):
            connection.execute(failing)
    process.stop()

    log = (tmp_path / "postgres.log").read_text()

    assert "violates" in log
    assert "hash-of-ada" not in log


def test_postgres_loses_nothing_in_a_stop(start: Start) -> None:
    first, url = start("postgres")
    remember(url, 1)
    first.stop()

    _, url = start("postgres")

    assert recall(url) == [1]


def test_postgres_loses_nothing_in_a_kill(start: Start) -> None:
    first, url = start("postgres")
    remember(url, 1)
    first.kill()

    _, url = start("postgres")

    assert recall(url) == [1]


def test_postgres_starts_although_a_leftover_file_names_a_foreign_process(
    start: Start, tmp_path: Path
) -> None:
    first, _ = start("postgres")
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    left_over = pid_file.read_text().splitlines()
    first.kill()
    pid_file.write_text("\n".join([str(os.getppid()), *left_over[1:]]) + "\n")

    _, url = start("postgres")

    remember(url, 1)
    assert recall(url) == [1]


def test_postgres_repeats_an_interrupted_creation_of_its_folder(
    start: Start, tmp_path: Path
) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    _, url = start("postgres")
    remember(url, 1)

    assert not half.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become nobody")
def test_root_without_user_namespaces_runs_postgres_as_nobody(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, url = start("postgres")
    remember(url, 1)
    first.stop()
    tmp_path.chmod(0o700)
    monkeypatch.setattr(servers, "_can_unshare", lambda folder: False)

    second, url = start("postgres")

    status = Path(f"/proc/{second.pid}/status").read_text()
    assert "Uid:\t65534\t65534" in status
    assert recall(url) == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become nobody")
def test_nobody_finds_programs_in_a_folder_of_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_can_unshare", lambda folder: False)
    (tmp_path / "program").touch(0o755)
    tmp_path.chmod(0o700)
    command = [*servers._unprivileged(tmp_path), "test", "-x", str(tmp_path / "program")]
    assert subprocess.run(command, check=False).returncode == 0


def test_valkey_requires_its_password(start: Start) -> None:
    _, url = start("valkey", "right")

    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(url.replace("right", "wrong")).ping()


def test_valkey_listens_on_loopback_only(start: Start) -> None:
    _, url = start("valkey")

    with redis.Redis.from_url(url) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_valkey_keeps_its_data_in_a_kill(start: Start) -> None:
    first, url = start("valkey")
    with redis.Redis.from_url(url) as client:
        client.set("answer", 42)
    first.kill()

    _, url = start("valkey")

    with redis.Redis.from_url(url) as client:
        assert client.get("answer") == b"42"


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_no_process_list_shows_a_password(start: Start) -> None:
    for name in ("postgres", "valkey"):
        process, _ = start(name, "very-secret")
        assert b"very-secret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
