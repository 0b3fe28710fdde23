"""An organization does not suffer for another one, whatever happens in its cycles."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from dotenv import dotenv_values

from benchmarks import neighbours, scaling
from benchmarks.service import Service, wait_until
from tests.support.service import User

_MORE_THAN_WORKERS = 3

_SLEEP_LONG = """
    CREATE OR REPLACE FUNCTION sleep_long() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END'
"""

_POISON = """
    CREATE TRIGGER sleep_long BEFORE INSERT ON scheduling_schedulingcycle FOR EACH ROW
        WHEN (NEW.organization_id = ANY ({organizations})) EXECUTE FUNCTION sleep_long()
"""

_WAKE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


@pytest.fixture(scope="module")
def service(own_service: Service) -> Service:
    return own_service


@contextmanager
def poisoned(service: Service, organizations: list[int]) -> Iterator["psycopg.Connection[object]"]:
    """Let the cycles of these organizations take ten minutes, and yield a session."""
    url = dotenv_values(service.home / "env")["DATABASE_URL"] or ""
    with psycopg.connect(url, autocommit=True) as session:
        numbers = f"'{{{','.join(map(str, organizations))}}}'::bigint[]"
        session.execute(_SLEEP_LONG.format(seconds=600).encode())
        session.execute(_POISON.format(organizations=numbers).encode())
        try:
            yield session
        finally:
            # First, because those that sleep have a lock of the table that the removal waits for.
            session.execute(_SLEEP_LONG.format(seconds=0).encode())
            session.execute(_WAKE)
            session.execute("SET lock_timeout = '20s'")
            session.execute("DROP TRIGGER sleep_long ON scheduling_schedulingcycle")


def team(service: Service, name: str, open_clients: ExitStack) -> tuple[User, int]:
    """Return a user with an organization and a cluster of their own, and the organization's id."""
    user = open_clients.enter_context(User.newcomer(service.url, name, patience_s=60))
    organization = int(user.post("/organizations", name=name)["id"])
    user.post("/clusters", name="one", cpu=8, ram_mib="8Gi", gpu=0)
    return user, organization


def test_organizations_whose_cycles_take_minutes_delay_no_other(service: Service) -> None:
    with ExitStack() as clients:
        teams = [team(service, f"slow-{n}", clients) for n in range(_MORE_THAN_WORKERS)]
        neighbour, _ = team(service, "neighbour", clients)
        session = clients.enter_context(poisoned(service, [pk for _, pk in teams]))
        stuck = [(user, user.deploy("stuck")) for user, _ in teams]

        for number in range(3):
            neighbour.wait_for(neighbour.deploy(f"quick-{number}"), "running")
        wait_until(lambda: kept_apart(session) >= len(teams), "all slow cycles are kept apart")

        assert [user.status(deployment) for user, deployment in stuck] == ["pending"] * len(teams)


def kept_apart(session: "psycopg.Connection[object]") -> int:
    rows = session.execute("SELECT FROM scheduling_backgroundcycles WHERE until > now()")
    return rows.rowcount


def test_both_organizations_of_the_bench_are_measured(service: Service) -> None:
    report = neighbours.measure(service.url, waiting=20, clusters=1, tries=1, seed=0)

    assert (len(report.idle), len(report.busy)) == (1, 1)
    assert "20 waiting on 1 full clusters" in str(report)


def test_several_workers_are_measured() -> None:
    report = scaling.measure(workers=2, organizations=2, deployments=2)

    assert report.placed > 0
    assert {"web", "worker", "background", "engines", "postgres"} <= set(report.cpu_ms)
