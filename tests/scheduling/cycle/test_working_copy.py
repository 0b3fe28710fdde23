"""A working copy that is brought up to date equals one that is read in full, whatever happened."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import psycopg
import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import User
from clusters.models import Cluster
from deployments import changes, services
from deployments.arrays.models import Array
from deployments.changes import DeploymentChange
from deployments.choices import Status
from deployments.models import Dependency, Deployment
from orgs.models import Organization
from scheduling.cycle import competing, working_copy
from scheduling.cycle.kept import Kept
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import Loaded, load, load_many
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from tests.fixtures.deployments import Bring, Submit
from tests.support.organization_world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("forge")]

CHANGE = SchedulingCycle.Trigger.CHANGE


@pytest.fixture(autouse=True)
def _own_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_copy, "_copies", Kept(1_000))
    monkeypatch.setattr(competing, "_kept", Kept(1_000))


@pytest.fixture(autouse=True)
def _stopped_clock() -> Iterator[None]:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False):
        yield


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch, process: Any = None) -> Iterator[Any]:
    """Use what another process has kept, nothing unless given."""
    copies, kept = process or (Kept(1_000), Kept(1_000))
    with monkeypatch.context() as patch:
        patch.setattr(working_copy, "_copies", copies)
        patch.setattr(competing, "_kept", kept)
        yield copies, kept


@pytest.fixture
def session() -> Iterator["psycopg.Connection[Any]"]:
    """A session of another process."""
    with psycopg.connect(**connection.get_connection_params()) as other:
        yield other


def warm(organization: Organization) -> Loaded:
    return load(organization.pk, lock=False)


def cold(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    with another_process(monkeypatch):
        return load(organization.pk, lock=False)


def is_known(organization: Organization, deployment: Deployment) -> bool:
    return deployment.pk in warm(organization).known


def assert_up_to_date(organization: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    up_to_date, whole = warm(organization), cold(organization, monkeypatch)
    assert list(up_to_date.known.items()) == list(whole.known.items())
    assert up_to_date.snapshot == whole.snapshot
    assert make_plan(up_to_date.snapshot) == make_plan(whole.snapshot)
    if step := up_to_date.step:
        gone = set(map(id, step.removed))
        rows = [*(d for d in step.former if id(d) not in gone), *step.added]
        assert sorted(rows, key=attrgetter("id")) == list(up_to_date.snapshot.deployments)


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_full_reading_in_random_worlds(
    bob: User, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(competing, "_PART", seed % 2)
    world = World(bob, seed)
    rare: Any = Kept(1_000), Kept(1_000)
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock:
        for step in range(14):
            clock.shift(world.random.choice([5, 90, 700]))
            world.act_in_all_ways()
            assert_up_to_date(world.organization, monkeypatch)
            run_cycle(world.organization.pk, CHANGE)
            if step % 4 == 0:
                with another_process(monkeypatch, rare):
                    assert_up_to_date(world.organization, monkeypatch)
            if step % 5 == 0:
                changes.purge()


def test_deployments_that_compete_are_replaced_one_by_one(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, held, changed, ended = [submit() for _ in range(4)]
    monkeypatch.setattr(competing, "_PART", 1.0)
    warm(acme)
    monkeypatch.setattr(competing, "_all", lambda *_: pytest.fail("It looks at all of them."))

    services.hold(held, actor="olga")
    services.adjust(changed, actor="olga", priority=70)
    services.cancel(ended, actor="olga")
    new = submit()

    step = warm(acme).step
    assert [(d.id, d.priority) for d in warm(acme).snapshot.deployments] == [
        (first.pk, 50), (changed.pk, 70), (new.pk, 50),
    ]  # fmt: skip
    assert step is not None
    assert {d.id for d in step.removed} == {held.pk, changed.pk, ended.pk}
    assert {d.id for d in step.added} == {changed.pk, new.pk}
    services.release(held, actor="olga")
    assert [d.id for d in warm(acme).snapshot.deployments] == [
        first.pk, held.pk, changed.pk, new.pk,
    ]  # fmt: skip
    assert warm(acme).snapshot.deployments is warm(acme).snapshot.deployments


def test_a_deployment_in_back_off_competes_when_it_is_over(
    acme: Organization, submit: Submit
) -> None:
    now, waiting = datetime(2030, 1, 1, tzinfo=UTC), submit()
    warm(acme)
    Deployment.objects.filter(pk=waiting.pk).update(ready_after=now + timedelta(seconds=60))
    assert not warm(acme).snapshot.deployments
    with time_machine.travel(now + timedelta(seconds=60), tick=False):
        assert [d.id for d in warm(acme).snapshot.deployments] == [waiting.pk]


def test_only_changed_deployments_are_read(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = submit(), submit()
    before = warm(acme).known

    services.adjust(second, actor="olga", priority=70)
    after = warm(acme).known

    assert after[first.pk] is before[first.pk]
    assert after[second.pk].deployment.priority == 70


def test_a_transaction_that_commits_late_is_seen(
    acme: Organization, submit: Submit, session: "psycopg.Connection[Any]"
) -> None:
    early, late = submit(priority=10), submit(priority=10)
    session.execute("UPDATE deployments_deployment SET priority = 20 WHERE id = %s", [early.pk])
    services.adjust(late, actor="olga", priority=30)
    assert [k.deployment.priority for k in warm(acme).known.values()] == [10, 30]

    session.commit()

    assert [k.deployment.priority for k in warm(acme).known.values()] == [20, 30]


def test_what_changes_while_a_writing_transaction_is_open_is_looked_at_once(
    acme: Organization, submit: Submit, session: "psycopg.Connection[Any]"
) -> None:
    early, late = submit(priority=10), submit(priority=10)
    session.execute("UPDATE deployments_deployment SET priority = 20 WHERE id = %s", [early.pk])
    warm(acme)
    services.adjust(late, actor="olga", priority=30)
    assert warm(acme).read == {late.pk}

    with CaptureQueriesContext(connection) as statements:
        assert not warm(acme).read
    look = next(s["sql"] for s in statements if "deploymentchange" in s["sql"])
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF) {look}")
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")
    assert "deployments_deploymentchange c" in plan
    assert "Rows Removed" not in plan


def test_what_a_transaction_rolls_back_is_not_kept(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    warm(acme)
    with transaction.atomic():
        tried = submit()
        assert is_known(acme, tried)
        transaction.set_rollback(True)

    assert not is_known(acme, tried)
    assert_up_to_date(acme, monkeypatch)


def test_what_a_cycle_reads_before_it_writes_is_brought_up_to_date(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = submit()

    run_cycle(acme.pk, CHANGE)

    assert warm(acme).known[deployment.pk].deployment.cluster == forge.pk
    assert_up_to_date(acme, monkeypatch)


def test_a_dependent_is_read_again_when_its_dependency_ends(
    acme: Organization, bring: Bring, submit: Submit
) -> None:
    on = bring(Status.RUNNING)
    dependent = submit()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO deployments_dependency (deployment_id, on_id, condition)"
            " VALUES (%s, %s, 'completed')",
            [dependent.pk, on.pk],
        )
    assert not is_known(acme, dependent)

    Deployment.objects.filter(pk=on.pk).update(
        status=Status.COMPLETED, cluster=None, node=None, finished_at=datetime.now(UTC)
    )

    assert is_known(acme, dependent)
    assert not is_known(acme, on)


def test_a_copy_older_than_the_log_is_read_in_full(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = submit()
    warm(acme)
    services.adjust(deployment, actor="olga", priority=70)

    changes.purge()
    changes.purge()

    assert not DeploymentChange.objects.filter(deployment_id=deployment.pk).exists()
    assert_up_to_date(acme, monkeypatch)


def test_a_copy_that_was_used_since_the_last_purge_needs_no_full_reading(
    acme: Organization, submit: Submit
) -> None:
    deployment = submit()
    before = warm(acme).known
    changes.purge()
    warm(acme)
    changes.purge()

    assert warm(acme).known[deployment.pk] is before[deployment.pk]


def test_a_restored_table_is_read_in_full(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements that restore a table run without triggers."""
    deployment = submit()
    warm(acme)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE deployments_deployment DISABLE TRIGGER USER")
        cursor.execute("UPDATE deployments_deployment SET priority = 70")
        cursor.execute("ALTER TABLE deployments_deployment ENABLE TRIGGER USER")
        cursor.execute("VACUUM FULL deployments_deployment")

    assert warm(acme).known[deployment.pk].deployment.priority == 70


_OTHER = "(SELECT id FROM orgs_organization WHERE name = 'Globex')"
_FIRST = "(SELECT min(id) FROM deployments_deployment)"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deployments_array SET at_once = 1",
        f"UPDATE deployments_deployment SET organization_id = {_OTHER} WHERE id = {_FIRST}",
        f"UPDATE deployments_deployment SET id = 1000000 WHERE id = {_FIRST}",
        f"UPDATE deployments_dependency SET deployment_id = {_FIRST}",
        "DELETE FROM deployments_dependency",
        "TRUNCATE deployments_dependency",
        "UPDATE deployments_deployment SET priority = 70; TRUNCATE deployments_deploymentchange",
        "UPDATE deployments_deployment SET priority = 70; DELETE FROM deployments_deploymentchange",
    ],
)
def test_what_a_person_changes_by_sql_is_seen(
    acme: Organization,
    globex: Organization,
    submit: Submit,
    statement: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    array = Array.objects.create(organization=acme, name="sweep", size=3)
    elements = [submit() for _ in range(3)]
    Deployment.objects.update(array=array)
    Dependency.objects.create(deployment=elements[2], on=elements[1])
    before = warm(acme).known
    warm(globex)

    with connection.cursor() as cursor:
        cursor.execute(statement)

    assert warm(acme).known != before
    assert_up_to_date(acme, monkeypatch)
    assert_up_to_date(globex, monkeypatch)


def test_a_purge_does_not_lower_what_a_deletion_by_sql_has_raised(
    acme: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = submit()
    warm(acme)
    changes.purge()
    services.adjust(deployment, actor="olga", priority=70)
    DeploymentChange.objects.all().delete()

    changes.purge()

    assert_up_to_date(acme, monkeypatch)


def test_without_a_copy_everything_is_read(
    acme: Organization, submit: Submit, settings: Settings
) -> None:
    settings.SCHEDULER_COPY_SECONDS = 0
    deployment = submit()

    assert warm(acme).known[deployment.pk] is not warm(acme).known[deployment.pk]


def test_as_many_statements_for_many_organizations_as_for_one(
    acme: Organization,
    globex: Organization,
    submit: Submit,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    submit()
    now = datetime.now(UTC)
    organizations = [acme.pk, globex.pk]
    with django_assert_num_queries(7):
        load_many(organizations, now=now)
    with django_assert_num_queries(6):
        load_many(organizations, now=now)


def test_the_copies_that_were_not_used_for_the_longest_are_dropped(
    acme: Organization, globex: Organization, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: Kept[working_copy._Copy] = Kept(1, lambda copy: len(copy.known))
    monkeypatch.setattr(working_copy, "_copies", copies)
    submit(), submit()

    warm(globex)
    warm(acme)

    assert [copies.get(organization.pk) for organization in (acme, globex)] == [None, None]
