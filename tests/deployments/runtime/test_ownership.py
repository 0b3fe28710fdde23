"""A restored or copied installation does nothing on an engine until it has claimed it."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import pre_save
from django.utils import timezone
from pytest_django import Settings

from clusters import connections, ownership
from clusters.connections import Route
from clusters.models import Cluster, Connection
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime import claims, lost_contact
from deployments.runtime.models import Run
from orgs.models import Event
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import only_engine, reconcile
from tests.support.restore import restored_without

pytestmark = pytest.mark.django_db(transaction=True)

MEMORY = ("marker", "next_marker", "marked_at", "marker_database", "unclaimed")


class Killed(BaseException):
    """The process dies."""


def die() -> None:
    raise Killed


@pytest.fixture(autouse=True)
def _new_process() -> None:
    restart()


def restart() -> None:
    """Clear what a process loses when it restarts."""
    ownership._seen_by_this_process.clear()


def remembered() -> dict[str, Any]:
    """Return the markers in the database, as a backup has them."""
    return dict(Connection.objects.values(*MEMORY).get())


def restore(memory: dict[str, Any]) -> None:
    Connection.objects.update(**memory, lost_contact_at=None)
    restart()


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def kinds(cluster: Cluster) -> list[str]:
    events = Event.objects.filter(subject="cluster", subject_id=cluster.pk).order_by("pk")
    return [kind for kind in events.values_list("kind", flat=True) if kind != "created"]


# --- Detection ------------------------------------------------------------------------------------


def test_a_restored_database_changes_nothing_on_the_engine(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    kept = place()
    reconcile(foundry.pk)
    backup = remembered()
    restart()
    later = place()
    reconcile(foundry.pk)
    before = dict(engine.by_uid)
    restored_without(later)
    restore(backup)
    waiting = place()
    services.stop(fresh(kept), actor="bob")

    reconcile(foundry.pk)

    assert engine.by_uid == before
    assert all(container.stops == [] for container in before.values())
    assert fresh(kept).status == Status.STOPPING
    assert fresh(waiting).status == Status.PENDING
    assert kinds(foundry) == ["engine_unclaimed"]
    assert (
        f"manage.py claim_engine {foundry.pk}"
        in Event.objects.get(kind=lost_contact.FOREIGN).reason
    )


def test_a_copy_on_another_database_server_is_detected_before_the_next_renewal(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    running = place()
    reconcile(foundry.pk)
    marker = set(engine.markers or ())
    Connection.objects.update(marker_database="another server")
    services.stop(running, actor="bob")

    restart()
    reconcile(foundry.pk)

    assert engine.markers == marker
    assert [container.stops for container in engine.by_uid.values()] == [[]]
    assert Connection.objects.get().unclaimed
    assert "was on another server" in Connection.objects.get().last_error


def test_a_copy_that_cannot_read_a_marker_is_detected_by_its_server(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.markers = None
    running = place()
    reconcile(foundry.pk)
    assert fresh(running).status == Status.RUNNING
    Connection.objects.update(marker_database="another server")

    reconcile(foundry.pk)

    assert Connection.objects.get().unclaimed


def test_the_live_service_detects_that_a_copy_has_claimed_its_engine(
    foundry: Cluster, engine: FakeEngine, place: Submit, settings: Settings
) -> None:
    settings.LOST_CONTACT_REQUEUE_SECONDS = 1
    running = place()
    reconcile(foundry.pk)
    engine.markers = {uuid4()}

    reconcile(foundry.pk)
    with time_machine.travel(timezone.now() + timedelta(hours=1)):
        reconcile(foundry.pk)

    row = fresh(running)
    assert (row.status, row.status_code, row.restarts) == (Status.RUNNING, "lost_contact", 0)
    assert "has to be claimed" in row.status_reason
    assert len(engine.by_uid) == 1


def test_an_upgraded_copy_of_an_already_marked_service_is_detected(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.markers = {uuid4()}
    waiting = place()

    reconcile(foundry.pk)

    assert engine.starts == []
    assert fresh(waiting).status == Status.PENDING


def test_a_copy_does_not_claim_an_engine_whose_marker_is_gone(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    reconcile(foundry.pk)
    engine.markers = {uuid4()}
    reconcile(foundry.pk)
    engine.markers = set()

    reconcile(foundry.pk)

    assert engine.markers == set()
    assert Connection.objects.get().unclaimed


# --- The live installation is not locked out ------------------------------------------------------


@pytest.mark.parametrize("moment", ["put", "replace", "marked"])
def test_a_worker_killed_at_any_moment_of_a_renewal_continues_after_its_restart(
    foundry: Cluster, engine: FakeEngine, place: Submit, moment: str
) -> None:
    place()
    reconcile(foundry.pk)
    for _ in range(2):
        restart()
        engine.interruptions[moment] = die
        with pytest.raises(Killed):
            reconcile(foundry.pk)
    deployment = place()

    restart()
    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.RUNNING
    assert engine.markers == {Connection.objects.get().marker}


def test_the_marker_is_renewed_when_a_worker_starts_and_once_a_minute(
    foundry: Cluster, engine: FakeEngine
) -> None:
    seen = []
    steps: list[Callable[[], object]] = [lambda: None, lambda: None, restart, lambda: None]
    for step in steps:
        step()
        reconcile(foundry.pk)
        seen.append(Connection.objects.get().marker)
    with time_machine.travel(timezone.now() + ownership.RENEW_AFTER):
        reconcile(foundry.pk)
        seen.append(Connection.objects.get().marker)

    first, second, third = seen[0], seen[2], seen[4]
    assert seen == [first, first, second, second, third]
    assert len({first, second, third}) == 3


def test_a_frozen_worker_does_not_undo_a_later_renewal(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    reconcile(foundry.pk)
    restart()
    others = uuid4()

    def renew() -> None:
        engine.markers = {others}
        Connection.objects.update(marker=others, next_marker=None)

    engine.interruptions["marked"] = renew
    reconcile(foundry.pk)

    assert Connection.objects.get().marker == others
    deployment = place()
    reconcile(foundry.pk)
    assert fresh(deployment).status == Status.RUNNING


def test_without_the_right_to_identify_the_server_it_is_not_mistaken_for_a_copy(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    reconcile(foundry.pk)
    assert Connection.objects.get().marker_database
    deployment = place()
    restart()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain")
        cursor.execute("GRANT pg_read_all_data, pg_write_all_data TO plain")
        cursor.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO plain")
        cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        cursor.execute("SET ROLE plain")
        try:
            reconcile(foundry.pk)
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
            cursor.execute("DROP OWNED BY plain")
            cursor.execute("DROP ROLE plain")

    assert fresh(deployment).status == Status.RUNNING


def test_a_second_worker_of_the_same_installation_works_as_well(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    for _ in range(3):
        restart()
        deployment = place()
        reconcile(foundry.pk)
        assert fresh(deployment).status == Status.RUNNING


def test_an_engine_whose_data_was_wiped_is_marked_again(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    running = place()
    reconcile(foundry.pk)
    engine.by_uid.clear()
    engine.markers = set()

    reconcile(foundry.pk)

    assert fresh(running).status_code == "container_vanished"
    assert engine.markers == {Connection.objects.get().marker}


def test_an_upgrade_marks_the_engine_and_continues(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    running = place()
    reconcile(foundry.pk)
    engine.markers = set()
    restore(dict.fromkeys(MEMORY[:3]) | {"marker_database": "", "unclaimed": False})

    reconcile(foundry.pk)

    assert fresh(running).status == Status.RUNNING
    assert len(engine.markers) == 1


# --- Claims ---------------------------------------------------------------------------------------


@pytest.fixture
def restored(foundry: Cluster, engine: FakeEngine, place: Submit) -> tuple[Deployment, Run]:
    """A deployment that started before the backup, and a run that started after it."""
    kept = place(name="kept", image="kept:1")
    reconcile(foundry.pk)
    backup = remembered()
    restart()
    later = place(name="later", image="later:1", command=["serve", "--all"])
    reconcile(foundry.pk)
    run = later.runs.get()
    restored_without(later)
    restore(backup)
    reconcile(foundry.pk)
    return kept, run


def test_a_claim_removes_unknown_containers_and_keeps_the_others(
    foundry: Cluster, engine: FakeEngine, place: Submit, restored: tuple[Deployment, Run]
) -> None:
    kept, later = restored
    output = StringIO()

    call_command("claim_engine", foundry.name, yes=True, stdout=output)
    waiting = place()
    reconcile(foundry.pk)

    assert "restored or copied" in output.getvalue()
    assert "later:1 serve --all, running" in output.getvalue()
    assert f"kept:1, running, deployment {kept.pk} (kept)" in output.getvalue()
    assert later.container not in engine.by_uid
    assert (fresh(kept).status, fresh(waiting).status) == (Status.RUNNING, Status.RUNNING)
    assert kinds(foundry) == [
        "engine_unclaimed", "engine_claimed", "orphan_removed", "contact_regained",
    ]  # fmt: skip
    connection = Connection.objects.get()
    assert engine.markers == {connection.marker}
    assert (connection.unclaimed, connection.unknown_containers) == (False, [])


def test_the_inventory_of_an_engine_is_printed_as_json_and_changes_nothing(
    foundry: Cluster, engine: FakeEngine, restored: tuple[Deployment, Run]
) -> None:
    kept, later = restored
    printed = StringIO()
    markers = set(engine.markers or ())

    call_command("claim_engine", foundry.name, json=True, stdout=printed)

    document = json.loads(printed.getvalue())
    assert (document["cluster"], document["claimed"]) == (foundry.pk, False)
    assert "restored or copied" in document["objection"]
    assert [(row["deployment"], row["phase"]) for row in document["known"]] == [
        (kept.pk, "running")
    ]
    assert [row["uid"] for row in document["unknown"]] == [str(later.container)]
    assert document["ended"] == []
    assert (set(engine.markers or ()), later.container in engine.by_uid) == (markers, True)


def test_a_claim_may_keep_unknown_containers_which_then_block_launches(
    foundry: Cluster, engine: FakeEngine, place: Submit, restored: tuple[Deployment, Run]
) -> None:
    kept, later = restored
    output = StringIO()

    call_command("claim_engine", str(foundry.pk), yes=True, keep_unknown=True, stdout=output)
    waiting = place()
    reconcile(foundry.pk)

    assert "nothing starts on foundry" in output.getvalue()
    assert later.container in engine.by_uid
    assert (fresh(kept).status, fresh(waiting).status) == (Status.RUNNING, Status.PENDING)
    assert len(Connection.objects.get().unknown_containers) == 1


def test_a_claim_that_was_interrupted_can_be_repeated(
    foundry: Cluster, engine: FakeEngine, restored: tuple[Deployment, Run]
) -> None:
    for moment in ("put", "replace", "marked"):
        engine.interruptions[moment] = die
        with pytest.raises(Killed):
            claims.claim(only_engine(foundry), actor="olga", remove=[])

    claims.claim(only_engine(foundry), actor="olga", remove=[])
    restart()
    reconcile(foundry.pk)

    assert engine.markers == {Connection.objects.get().marker}
    assert not Connection.objects.get().unclaimed


def test_without_confirmation_nothing_changes(
    foundry: Cluster, engine: FakeEngine, restored: tuple[Deployment, Run]
) -> None:
    markers = set(engine.markers or ())

    with pytest.raises(CommandError, match="Nothing has changed"):
        call_command("claim_engine", str(foundry.pk), stdout=StringIO())

    assert engine.markers == markers
    assert len(engine.by_uid) == 2


def test_an_engine_that_does_not_answer_cannot_be_claimed(
    foundry: Cluster, engine: FakeEngine
) -> None:
    engine.is_down = True

    with pytest.raises(CommandError, match="no route to host"):
        call_command("claim_engine", str(foundry.pk), yes=True, stdout=StringIO())


# --- verify ---------------------------------------------------------------------------------------


def verify() -> str:
    """Return the output of `verify`, including errors."""
    output = StringIO()
    try:
        call_command("verify", stdout=output, stderr=output)
    except CommandError as error:
        output.write(str(error))
    return output.getvalue()


@pytest.fixture
def hasty(settings: Settings) -> None:
    settings.RECONCILE_INTERVAL = 0


def test_verify_finds_differences_before_the_claim_and_none_after(
    hasty: None, foundry: Cluster, engine: FakeEngine, restored: tuple[Deployment, Run]
) -> None:
    before = verify()
    call_command("claim_engine", str(foundry.pk), yes=True, stdout=StringIO())
    reconcile(foundry.pk)

    assert "engine not claimed by this installation on cluster" in before
    assert "container unknown to this database on cluster" in before
    assert "All is well" in verify()


def test_verify_finds_containers_that_are_missing_or_have_another_image(
    hasty: None, foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    missing, adopted, ended = place(), place(image="own:1", command=["own"]), place()
    reconcile(foundry.pk)
    uid = missing.runs.get().container
    assert uid
    del engine.by_uid[uid]
    engine.change(adopted.runs.get().pk, image="other:1", command=("other",))
    Run.objects.filter(deployment=ended).delete()

    output = verify()

    assert f"run without its container on cluster {foundry.pk} (foundry): run" in output
    assert "container with another image or command on cluster" in output
    assert "(other:1 other), running" in output
    assert "container of a run that has ended on cluster" in output


def test_verify_names_the_engines_that_it_could_not_reach(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.is_down = True

    output = verify()

    assert f"Engine not compared: cluster {foundry.pk} (foundry): no route to host" in output
    assert "not compared: 1" in output


# --- Reconnection ---------------------------------------------------------------------------------


def connect(cluster: Cluster) -> Connection:
    route = Route(driver="docker", endpoint="fake://foundry")
    return connections.connect(cluster, actor="olga", route=route)


def test_reconnecting_the_same_engine_does_not_undo_a_concurrent_renewal(
    foundry: Cluster, engine: FakeEngine
) -> None:
    reconcile(foundry.pk)
    renewed = uuid4()

    def renew(**_: object) -> None:
        Connection.objects.update(marker=renewed)

    pre_save.connect(renew, sender=Connection)
    try:
        connect(foundry)
    finally:
        pre_save.disconnect(renew, sender=Connection)

    assert Connection.objects.get().marker == renewed


def test_a_cluster_that_returns_to_an_engine_is_not_mistaken_for_a_copy(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    reconcile(foundry.pk)
    former = Connection.objects.get()
    Connection.objects.update(engine_id="another")

    connect(foundry)

    assert Connection.objects.get().uid != former.uid
    engine.markers = set()  # a driver shows only the markers of its connection
    deployment = place()
    reconcile(foundry.pk)
    assert fresh(deployment).status == Status.RUNNING
