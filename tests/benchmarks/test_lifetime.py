"""The benches of a long life and of reads run; frequent statements do not read what has ended."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks import lifetime, reads
from benchmarks.history import TABLES, History
from benchmarks.private import found, own_session
from clusters import engines
from deployments import waiting
from deployments.retention import purge_events
from deployments.runtime import closing
from deployments.runtime.reconcile import reconcile
from deployments.runtime.requests import periodic_requests
from orgs.models import Organization
from scheduling.cycle.snapshot import load
from scheduling.insight.verify import violations
from scheduling.monitoring import clocks
from scheduling.monitoring.days import roll_up
from scheduling.monitoring.minutes import take_sample
from scheduling.tasks import due_organizations

pytestmark = pytest.mark.django_db(transaction=True)

SMALL = History(ended=40, pending=10, active=8, minutes=10)


def test_the_rows_of_a_history_are_consistent() -> None:
    _, organization = found(SMALL)

    assert list(violations()) == []
    assert organization.deployments.count() == 58
    assert organization.deployments.active().count() == 8


def test_a_long_life_is_measured_and_leaves_no_database_behind() -> None:
    lines: list[str] = []

    lifetime.measure(SMALL, rounds=1, size=2, churned=3, out=lines.append)

    steps = [line.split("  ")[0] for line in lines]
    assert steps.count("submissions") == steps.count("starts and ends") == 2
    assert [table for table in TABLES if table in steps] == list(TABLES)
    with own_session() as session:
        names = session.execute("SELECT datname FROM pg_database").fetchall()
    assert not {(lifetime.FRESH,), (lifetime.AGED,)} & set(names)


def test_every_read_of_the_bench_succeeds() -> None:
    found_reads = list(reads.measure(SMALL, tries=1))

    names = {read.name for read in found_reads}
    assert {"/me", "/admin/", "/admin/queue/", "/admin/queue/, after a change"} <= names


FREQUENT: dict[str, Callable[[Organization], object]] = {
    "snapshot": lambda organization: load(organization.pk, lock=False),
    "due": lambda _: due_organizations(),
    "clocks": lambda _: clocks.cut(actor="system:test"),
    "waiting": lambda _: waiting.refresh(timezone.now(), actor="system:test"),
    "heal": lambda _: closing.heal(timezone.now(), actor="system:test"),
    "requests": lambda _: list(periodic_requests(timezone.now())),
    "minutes": lambda _: take_sample(),
    "days": lambda _: roll_up(),
    "purge": lambda _: purge_events(timezone.now()),
    "reconcile": lambda organization: reconcile(
        engines.of_cluster(organization.clusters.earliest("pk"))[0]
    ),
}


@pytest.mark.parametrize("name", FREQUENT)
def test_a_frequent_statement_reads_nothing_that_has_ended(name: str) -> None:
    _, organization = found(History(ended=20_000, pending=50, active=8, minutes=10))

    with CaptureQueriesContext(connection) as captured:
        FREQUENT[name](organization)

    for query in captured.captured_queries:
        assert not _scanned(query["sql"]) & set(TABLES), query["sql"]


def test_the_figures_of_a_busy_day_do_not_read_all_events() -> None:
    found(History(ended=20_000, active=8, days=1, minutes=10))

    with CaptureQueriesContext(connection) as captured:
        roll_up()

    for query in captured.captured_queries:
        assert "orgs_event" not in _scanned(query["sql"]), query["sql"]


def _scanned(sql: str) -> set[str]:
    """Return the tables that the statement reads from the beginning to the end."""
    if not sql.strip(" \n(").startswith(("SELECT", "UPDATE", "WITH", "DELETE")):
        return set()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        ((explained,),) = cursor.fetchone()
    return set(_scans(explained["Plan"]))


def _scans(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _scans(part)
