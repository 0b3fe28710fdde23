"""Open transactions that have written something are named, because the change log grows."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from clusters.models import Cluster
from deployments import changes
from deployments.models import Deployment
from hypervisor.metrics import page
from scheduling.models import Sample
from scheduling.monitoring import open_writes
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.minutes import take_sample
from tests.fixtures.deployments import Submit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.own_session]

LATER = timedelta(minutes=20)


@pytest.fixture
def session(db: None) -> Iterator[BaseDatabaseWrapper]:
    """Another session with an open transaction, which has written nothing yet."""
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SET application_name = 'a forgotten psql'")
        cursor.execute("BEGIN")
        yield other
    other.close()


def write(session: BaseDatabaseWrapper) -> int:
    """Let the session write something; return its process id."""
    with session.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id(), pg_backend_pid()")
        return int(cursor.fetchone()[1])


def raised(pid: int, later: timedelta = LATER) -> list[Alarm]:
    found = open_writes.found(timezone.now() + later)
    return [alarm for alarm in found if f"session {pid} of" in alarm.title]


def test_the_purge_waits_for_an_open_write_and_the_alarm_names_its_session(
    session: BaseDatabaseWrapper, submit: Submit, forge: Cluster
) -> None:
    pid = write(session)
    Deployment.objects.filter(pk=submit().pk).update(revision=2)
    changes.purge()
    changes.purge()
    assert changes.DeploymentChange.objects.exists()

    (alarm,) = raised(pid)

    user, database = (connection.settings_dict[name] for name in ("USER", "NAME"))
    assert alarm.level == "warning"
    assert alarm.title.startswith("A transaction has been open for 20 min: ")
    assert f"session {pid} of {user}, a forgotten psql" in alarm.title
    assert alarm.title.endswith(f", database {database}")
    with connection.cursor() as cursor:
        cursor.execute(alarm.detail.split("what it wrote: ")[1])
    changes.purge()
    changes.purge()
    assert not changes.DeploymentChange.objects.exists()


def test_short_transactions_and_those_that_only_read_raise_no_alarm(
    session: BaseDatabaseWrapper,
) -> None:
    with session.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid() FROM pg_class")
        pid = cursor.fetchone()[0]

    assert raised(pid) == []
    assert raised(write(session), timedelta(minutes=14)) == []


def test_a_prepared_transaction_has_no_session_but_an_identifier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared = "SELECT transaction_timestamp(), '1'::xid, 'it''s', current_user, current_database()"
    monkeypatch.setattr(
        open_writes,
        "_OPEN",
        open_writes._OPEN.replace(
            "pg_prepared_xacts",
            f"({prepared}) AS p (prepared, transaction, gid, owner, database)",
        ),
    )

    (alarm,) = [
        alarm for alarm in open_writes.found(timezone.now() + LATER) if "prepared" in alarm.title
    ]

    assert "prepared transaction it's of" in alarm.title
    assert "ROLLBACK PREPARED 'it''s';" in alarm.detail


def test_the_age_of_a_hidden_transaction_is_inferred_from_the_samples(
    session: BaseDatabaseWrapper,
) -> None:
    take_sample()
    pid = write(session)
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE watcher")
        cursor.execute("GRANT SELECT ON scheduling_sample TO watcher")
        cursor.execute("SET ROLE watcher")
        try:
            unknown = [row.pid for row in open_writes.oldest(1000)]
            cursor.execute("RESET ROLE")
            since = timezone.now() - timedelta(minutes=40)
            later = Sample.objects.all()[0]
            later.pk, later.time = None, since
            later.save()
            cursor.execute("SET ROLE watcher")
            (found,) = [row for row in open_writes.oldest(1000) if row.pid == pid]
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP OWNED BY watcher")
            cursor.execute("DROP ROLE watcher")

    assert pid not in unknown
    assert found.since == since
    assert found.application == "a forgotten psql"


def test_the_metric_is_the_age_of_the_oldest(session: BaseDatabaseWrapper) -> None:
    write(session)

    line = next(
        line
        for line in page._read().decode().splitlines()
        if line.startswith("hypervisor_open_write_seconds ")
    )

    assert float(line.split()[1]) > 0
