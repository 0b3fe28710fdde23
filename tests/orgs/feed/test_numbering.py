"""The numbers of events: no hole, no duplicate, and never a lower one after a higher one."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from threading import Barrier
from threading import Event as Signal
from typing import Any, TypeVar

import pytest
from django.db import connection, connections, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster
from deployments import retention
from orgs import services
from orgs.events import record, record_many
from orgs.feed import numbering
from orgs.feed.numbering import number_events
from orgs.feed.reading import numbered
from orgs.models import Event, EventCounter, EventNumber, Organization, UnnumberedEvent

WRITERS, STEPS = 8, 25

T = TypeVar("T")

Numbers = list[tuple[int, str]]
Kept = list[dict[int, list[str]]]
"""For each writer: the kinds of its events by organization."""


def numbers(organization: Organization) -> Numbers:
    """Return the numbers of the organization's events with their kinds, in order."""
    rows = EventNumber.objects.filter(organization=organization).order_by("number")
    return list(rows.values_list("number", "event__kind"))


def write(organization: Organization, *kinds: str) -> None:
    for kind in kinds:
        record(organization, kind, "test")


@contextmanager
def session() -> Iterator[Any]:
    """Open a second session with a transaction of its own, which ends with the block."""
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")
    finally:
        other.close()


def insert(cursor: Any, organization: Organization, kind: str) -> None:
    cursor.execute(
        "INSERT INTO orgs_event (organization_id, subject, subject_id, time, kind, actor, reason,"
        " data) VALUES (%s, 'organization', %s, now(), %s, 'test', '', '{}')",
        [organization.pk, organization.pk, kind],
    )


def in_thread(call: Callable[..., T], *arguments: Any) -> T:
    try:
        return call(*arguments)
    finally:
        connection.close()


@pytest.mark.django_db
def test_each_organization_counts_from_one(acme: Organization) -> None:
    other = Organization.objects.create(name="Other")
    write(acme, "a", "b")
    write(other, "x")
    write(acme, "c")

    assert number_events() == 4
    assert numbers(acme) == [(1, "a"), (2, "b"), (3, "c")]
    assert numbers(other) == [(1, "x")]
    assert number_events() == 0


@pytest.mark.django_db
def test_events_that_one_statement_inserts_are_numbered_in_their_order(acme: Organization) -> None:
    event = {"organization": acme, "subject": "organization", "subject_id": acme.pk, "data": {}}
    record_many([Event(kind=f"k{n}", actor="test", **event) for n in range(50)])

    number_events()

    assert numbers(acme) == [(n + 1, f"k{n}") for n in range(50)]


@pytest.mark.django_db
def test_more_events_than_one_batch_are_numbered(
    acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orgs.feed.numbering._BATCH", 3)
    write(acme, *"abcdefg")

    assert number_events() == 7
    assert numbers(acme) == list(enumerate("abcdefg", start=1))


@pytest.mark.django_db
def test_many_events_are_numbered_and_read_although_the_tables_count_as_empty(
    acme: Organization,
) -> None:
    event = {"organization": acme, "subject": "organization", "subject_id": acme.pk, "data": {}}
    record_many([Event(kind=f"k{n % 7}", actor="test", **event) for n in range(1000)])
    with session() as other:
        other.execute("ANALYZE orgs_event, orgs_eventnumber, orgs_unnumberedevent")

    assert rows_read(numbering._NUMBER, [10_000]) < 20_000

    with CaptureQueriesContext(connection) as queries:
        assert len(numbered(acme.pk, 0, 1000, Q(subject="organization"))) == 1000
    assert sum(rows_read(query["sql"]) for query in queries) < 20_000


def rows_read(statement: str, values: Sequence[int] | None = None) -> float:
    """Carry the statement out; return how many rows its plan has read or compared."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
        return _rows_below(cursor.fetchone()[0][0]["Plan"])


def _rows_below(node: dict[str, Any]) -> float:
    each = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter")
    below = sum(_rows_below(child) for child in node.get("Plans", []))
    return below + float(node["Actual Loops"] * sum(node.get(name, 0) for name in each))


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_gets_a_later_number(acme: Organization) -> None:
    with session() as late:
        insert(late, acme, "first drawn")
        write(acme, "second drawn")
        number_events()
        assert numbers(acme) == [(1, "second drawn")]

    number_events()

    assert numbers(acme) == [(1, "second drawn"), (2, "first drawn")]


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_rolled_back_leaves_no_hole(acme: Organization) -> None:
    with transaction.atomic():
        write(acme, "never happened")
        transaction.set_rollback(True)
    write(acme, "happened")

    number_events()

    assert numbers(acme) == [(1, "happened")]
    assert not UnnumberedEvent.objects.exists()


class Crowd:
    """Writers whose transactions commit in any order, two sequencers, and followers."""

    def __init__(self) -> None:
        self.organizations = [Organization.objects.create(name=f"Org {n}") for n in range(3)]
        self._all_hold = Barrier(WRITERS)
        self._over = Signal()

    def run(self) -> tuple[Kept, dict[int, Numbers]]:
        """Return the kinds that the writers committed, and what the followers have read."""
        with ThreadPoolExecutor(WRITERS + 5) as pool:
            followers = {o.pk: pool.submit(in_thread, self._follow, o) for o in self.organizations}
            sequencers = [pool.submit(in_thread, self._number) for _ in range(2)]
            writers = [pool.submit(in_thread, self._write, n) for n in range(WRITERS)]
            try:
                kept = [writer.result(120) for writer in writers]
                number_events()
            finally:
                self._over.set()
            for sequencer in sequencers:
                sequencer.result(60)
            return kept, {pk: follower.result(60) for pk, follower in followers.items()}

    def _write(self, writer: int) -> dict[int, list[str]]:
        chance = random.Random(writer)
        kept: dict[int, list[str]] = {o.pk: [] for o in self.organizations}
        for step in range(STEPS):
            events = [(chance.choice(self.organizations), f"{writer}.{step}.{n}") for n in range(3)]
            rolls_back = chance.random() < 0.2
            with transaction.atomic():
                for organization, kind in events:
                    write(organization, kind)
                # All writers hold their transactions open; then they commit in any order.
                self._all_hold.wait(60)
                transaction.set_rollback(rolls_back)
            for organization, kind in () if rolls_back else events:
                kept[organization.pk].append(kind)
        return kept

    def _number(self) -> None:
        while not self._over.is_set():
            number_events()

    def _follow(self, organization: Organization) -> Numbers:
        """Read on from the last number, as fast as possible."""
        seen: Numbers = []
        while True:
            was_over = self._over.is_set()
            after = seen[-1][0] if seen else 0
            rows = EventNumber.objects.filter(organization=organization, number__gt=after)
            page = list(rows.order_by("number").values_list("number", "event__kind")[:10])
            seen += page
            if was_over and not page:
                return seen


@pytest.mark.django_db(transaction=True)
def test_followers_miss_nothing_while_transactions_commit_out_of_order() -> None:
    crowd = Crowd()

    kept, followed = crowd.run()

    for organization in crowd.organizations:
        seen = followed[organization.pk]
        assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
        assert len(seen) == sum(len(of_writer[organization.pk]) for of_writer in kept)
        for writer, of_writer in enumerate(kept):
            mine = [kind for _, kind in seen if kind.startswith(f"{writer}.")]
            assert mine == of_writer[organization.pk]


@pytest.mark.django_db
def test_old_numbers_are_deleted_with_their_events(acme: Organization, settings: Settings) -> None:
    settings.EVENT_HISTORY_DAYS = 30
    write(acme, "old", "older", "new")
    Event.objects.exclude(kind="new").update(time=timezone.now() - timedelta(days=40))

    assert retention.purge_events(timezone.now()) == 2

    assert numbers(acme) == [(3, "new")]
    counter = EventCounter.objects.get(organization=acme)
    assert (counter.last_number, counter.deleted_to) == (3, 2)


@pytest.mark.django_db
def test_a_deleted_organization_leaves_no_numbers(alice: User, forge: Cluster) -> None:
    organization = services.create(name="Brief", owner=alice)
    number_events()
    write(organization, "not yet numbered")

    organization.delete()

    for model in (UnnumberedEvent, EventNumber, EventCounter):
        assert not model._default_manager.filter(organization=organization.pk).exists()


@pytest.mark.django_db
def test_events_that_outlive_their_organization_get_no_number(acme: Organization) -> None:
    write(acme, "kept")
    write(Organization(pk=10**9), "homeless")

    number_events()

    assert list(EventNumber.objects.values_list("event__kind", flat=True)) == ["kept"]
    assert not UnnumberedEvent.objects.exists()


@pytest.mark.django_db
def test_events_of_the_former_release_are_numbered_by_the_migration(acme: Organization) -> None:
    other = Organization.objects.create(name="Other")
    for organization, kind in ((acme, "a"), (other, "x"), (acme, "b")):
        write(organization, kind)
    UnnumberedEvent.objects.all().delete()  # as if there had been no trigger yet
    write(acme, "inserted during the upgrade")
    migration = import_module("orgs.migrations.0008_number_present_events")

    with connection.cursor() as cursor:
        cursor.execute(migration.NUMBERS)
        cursor.execute(migration.COUNTERS)
    number_events()

    assert numbers(acme) == [(1, "a"), (2, "b"), (3, "inserted during the upgrade")]
    assert numbers(other) == [(1, "x")]
