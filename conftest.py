"""Settings and servers for the tests; the servers start with the first test that needs them.

The environment is set before Django's settings are read, so the developer's environment has no
effect, except that the tests use the servers of DATABASE_URL and REDIS_URL if these are set.
"""

import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from hypervisor import env
from hypervisor.standalone import servers
from hypervisor.standalone.home import free_port
from hypervisor.standalone.process import Process, Service
from tests.support import initial_rows, pgbouncer, prepared
from tests.support.docker_engine import missing

pytest_plugins = [
    "tests.fixtures.deployments",
    "tests.fixtures.docker",
    "tests.fixtures.engines",
    "tests.fixtures.log_in",
    "tests.fixtures.mail",
    "tests.fixtures.node",
    "tests.fixtures.people",
    "tests.fixtures.rates",
    "tests.fixtures.service",
]

_FOLDER = tempfile.TemporaryDirectory(prefix="hypervisor-tests-")
_EMBEDDED: list[Service] = []


_IS_POOLED = "--pgbouncer" in sys.argv
"""Whether PgBouncer is in front of PostgreSQL: needed before pytest reads its options."""


def _settings() -> dict[str, str]:
    """Return every setting, with its default unless the tests need another value."""
    defaults = {s.name: str(s.default) for s in env.SETTINGS if s.default is not None}
    return {
        **defaults,
        "ENVIRONMENT": "development",
        "LOG_FORMAT": "console",
        "LOG_LEVEL": "WARNING",
        "HYPERVISOR_HOME": f"{_FOLDER.name}/home",
        "DATABASE_URL": os.environ.get("DATABASE_URL") or _database(),
        "REDIS_URL": os.environ.get("REDIS_URL") or _valkey(),
        "DJANGO_SETTINGS_MODULE": "hypervisor.settings",
    }


def _postgres() -> str:
    folder = Path(_FOLDER.name)
    service, url = prepared.postgres(folder / "postgres", free_port(), folder / "postgres.log")
    _EMBEDDED.append(service)
    return url


def _valkey() -> str:
    folder = Path(_FOLDER.name)
    service, url = servers.valkey(
        folder / "valkey", free_port(), secrets.token_urlsafe(), folder / "valkey.log",
        durable=False,
    )  # fmt: skip
    _EMBEDDED.append(service)
    return url


def _database() -> str:
    url = _postgres()
    if not _IS_POOLED:
        return url
    folder = Path(_FOLDER.name)
    service, url = pgbouncer.pgbouncer(
        folder / "pgbouncer", free_port(), url, folder / "pgbouncer.log"
    )
    _EMBEDDED.append(service)
    return url


os.environ.setdefault(prepared.FOLDER, f"{_FOLDER.name}/prepared")
_HAS_OWN_POSTGRES = not os.environ.get("DATABASE_URL")
os.environ.update(_settings())
django.setup()

from scheduling.cycle import lanes  # noqa: E402 the models need the settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--docker", action="store_true", help="also run the tests that need a real Docker Engine"
    )
    parser.addoption(
        "--pgbouncer",
        action="store_true",
        help="connect to the tests' PostgreSQL through PgBouncer in transaction mode",
    )
    parser.addoption("--screenshots", help="folder for screenshots of the console")
    parser.addoption("--pictures", help="folder for the pictures of the documentation")


def pytest_configure(config: pytest.Config) -> None:
    # SIGTERM acts like Ctrl-C, so that every engine and server is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "docker: needs a real Docker Engine, which --docker starts")
    config.addinivalue_line(
        "markers",
        "own_session: needs a PostgreSQL session for itself, which a pooler does not give",
    )
    if config.getoption("docker") and (reason := missing()):
        raise pytest.UsageError(f"--docker: {reason}")
    if _IS_POOLED and (reason := pgbouncer.missing()):
        raise pytest.UsageError(f"--pgbouncer: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("docker"):
        skip = pytest.mark.skip(reason="needs a Docker Engine: python3 manage.py test --docker")
        for item in items:
            if item.get_closest_marker("docker"):
                item.add_marker(skip)
    if config.getoption("pgbouncer"):
        skip = pytest.mark.skip(reason="needs a PostgreSQL session for itself")
        for item in items:
            if item.get_closest_marker("own_session"):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a skipped engine test fail if --docker asks for these tests."""
    report = yield
    if report.skipped and item.get_closest_marker("docker") and item.config.getoption("docker"):
        report.outcome = "failed"
        report.longrepr = f"Skipped despite --docker: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[None]:
    """Run PostgreSQL and Valkey for this session, unless the environment names servers."""
    processes = [Process(service) for service in _EMBEDDED]
    try:
        for process in processes:
            process.wait_until_ready()
        yield
    finally:
        for process in processes:
            process.stop()


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """Do not drop the test database while PgBouncer keeps connections to it."""
    return django_db_keepdb or _IS_POOLED


@pytest.fixture(scope="session")
def django_db_modify_db_settings(embedded_servers: None) -> None:
    """Start the servers before pytest-django copies the migrated database.

    PostgreSQL copies no database to which PgBouncer keeps connections.
    """
    if _HAS_OWN_POSTGRES and not _IS_POOLED:
        values = connection.settings_dict
        values["TEST"]["TEMPLATE"] = values["NAME"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Keep the rows of the new test database for the tests with transactions of their own."""
    with django_db_blocker.unblock():
        initial_rows.keep()


@pytest.fixture(autouse=True)
def every_cycle_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no cycle count as long, however busy this machine is."""
    for name in ("LONG_S", "LONG_CPU_S"):
        monkeypatch.setattr(lanes, name, float("inf"))
