"""The database of the former release is migrated while that release's web still runs."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from benchmarks.client import ApiError
from benchmarks.service import wait_until
from hypervisor.standalone.bootstrap import ROOT
from scheduling.periodic import FORMER_NAMES
from tests.e2e.upgrade import former
from tests.e2e.upgrade.former import Former, visit
from tests.support.databases import postgres, postgres_tool

_TASKS = "django_celery_beat_periodictask"
_RENEWED = {
    "auth_group_permissions", "django_celery_beat_periodictasks",
    "django_celery_beat_intervalschedule",
}  # fmt: skip
_RENEWED_OF_TASKS = {"interval_id", "description", "date_changed"}
"""Tables and columns without user data: the migrations rewrite them, or note in them that jobs were
added. Each job gets an interval of its own, as long as before."""

Row = tuple[str, str]
"""A table, and one of its rows as JSON."""


@pytest.fixture
def database(tmp_path: Path, embedded_servers: None) -> Iterator[str]:
    """The URL of a database that the former release has filled."""
    with postgres(tmp_path) as url:
        plain = tmp_path / "former.sql"
        with gzip.open(former.DUMP) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
        postgres_tool("psql", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1",
                      f"--file={plain}", url)  # fmt: skip
        yield url


def manage(database: str, *arguments: str, **environment: str) -> str:
    """Run a command of this release on the database; return its output."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT,
        env={**os.environ, **environment, "DATABASE_URL": database},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def columns(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Return the columns with data of each table."""
    rows = connection.execute(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"
    )
    kept = {table: names for table, names in rows if table not in _RENEWED}
    kept[_TASKS] = [name for name in kept[_TASKS] if name not in _RENEWED_OF_TASKS]
    return kept


def seconds_between_tasks(connection: psycopg.Connection) -> dict[str, int]:
    """Return the interval of each periodic task, by the name that it has in this release."""
    found = connection.execute(
        "SELECT name, every * CASE period WHEN 'days' THEN 86400 WHEN 'hours' THEN 3600"
        " WHEN 'minutes' THEN 60 ELSE 1 END FROM django_celery_beat_periodictask AS task"
        " JOIN django_celery_beat_intervalschedule AS own ON own.id = task.interval_id"
    )
    now = {former_name: name for name, former_name in FORMER_NAMES.items()}
    return {now.get(name) or name: seconds for name, seconds in found}


def rows(connection: psycopg.Connection, tables: dict[str, list[str]]) -> set[Row]:
    """Return all rows of these tables, reduced to these columns."""
    found: set[Row] = set()
    for table, names in tables.items():
        query = sql.SQL("SELECT to_jsonb(row)::text FROM (SELECT {} FROM {}) AS row").format(
            sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table)
        )
        found |= {(table, text) for (text,) in connection.execute(query)}
    return found


def renamed(row: Row) -> Row:
    """Return the row as this release has it: the periodic tasks have other names."""
    table, text = row
    if table == _TASKS:
        for name, former_name in FORMER_NAMES.items():
            text = text.replace(f'"name": "{former_name}"', f'"name": "{name}"')
    return table, text


def statements() -> list[str]:
    with gzip.open(former.STATEMENTS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_row_of_the_former_release_survives_and_its_statements_still_work(
    database: str,
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        tables = columns(connection)
        before, intervals = rows(connection, tables), seconds_between_tasks(connection)
        manage(database, "migrate")
        assert {renamed(row) for row in before} - rows(connection, tables) == set()
        assert intervals.items() <= seconds_between_tasks(connection).items()

        with connection.transaction():
            for statement in statements():
                connection.execute(statement.encode())
        count = "SELECT count(*) FROM deployments_deployment WHERE created_by_id ="
        dora = "(SELECT id FROM accounts_user WHERE username = 'dora')"
        assert connection.execute(f"{count} {dora}".encode()).fetchone() == (4,)
    assert "All is well" in manage(database, "verify")


class Visitors(threading.Thread):
    """Visit the former release's web repeatedly, until stopped or a call fails."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.organizations: list[int] = []
        self.failure: Exception | None = None
        self._url = url
        self._leaving = threading.Event()

    def run(self) -> None:
        while not self._leaving.is_set():
            try:
                self.organizations.append(visit(self._url, f"eve-{len(self.organizations)}"))
            except (ApiError, OSError) as error:
                self.failure = error
                return

    def wait_for(self, more: int) -> None:
        """Wait until this many more visits are complete."""
        whole = len(self.organizations) + more
        wait_until(lambda: self.failure or len(self.organizations) >= whole, f"{whole} visits")
        assert self.failure is None

    def leave(self) -> None:
        self._leaving.set()
        self.join()


def test_the_former_web_serves_while_its_database_is_migrated_and_afterwards(
    database: str, tmp_path: Path
) -> None:
    if not former.is_in_history():
        pytest.skip("needs the former release in the history: git fetch --unshallow")
    with Former(tmp_path / "former", database).web() as url:
        visitors = Visitors(url)
        visitors.start()
        try:
            visitors.wait_for(1)
            manage(database, "migrate")
            visitors.wait_for(2)  # of which one began after the migration
        finally:
            visitors.leave()
    assert visitors.failure is None
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT id FROM orgs_organization").fetchall()
    assert {(organization,) for organization in visitors.organizations} <= set(found)
    assert "All is well" in manage(database, "verify")


def test_a_migration_that_is_the_victim_of_a_deadlock_is_applied_again(database: str) -> None:
    manage(database, "migrate", "clusters", "0014")
    with psycopg.connect(database) as former_web, ThreadPoolExecutor() as pool:
        former_web.execute("SET deadlock_timeout = '1h'")  # so that the other is the victim
        former_web.execute("SELECT FROM clusters_connection")
        migration = pool.submit(
            manage, database, "migrate", "clusters", "0015", PGOPTIONS="-c deadlock_timeout=3s"
        )
        wait_until(lambda: migration.done() or awaits_a_lock(database), "the migration waits")
        former_web.execute("SELECT FROM clusters_node")
        former_web.commit()
        assert "A deadlock rolled back a migration" in migration.result()
    assert "No migrations to apply" in manage(database, "migrate", "clusters", "0015")


def awaits_a_lock(database: str) -> bool:
    with psycopg.connect(database) as observer:
        return bool(observer.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall())
