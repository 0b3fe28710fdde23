"""Ids of runs come back when a database is restored; a container's identity does not."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError, uid_by_run
from clusters.models import Cluster, Connection
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import AbandonedContainer, Run
from deployments.tasks import purge_outputs
from orgs.models import Event
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile
from tests.support.restore import restored_without

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_with_a_reused_id_does_not_adopt_the_former_runs_container(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    former = place(command=["former"])
    reconcile(foundry.pk)
    run = former.runs.get()
    restored_without(former)

    again = place(command=["again"])
    reconcile(foundry.pk)

    new = again.runs.get()
    assert new.pk == run.pk
    assert new.container != run.container
    again.refresh_from_db()
    assert again.status == Status.PENDING


def test_a_container_unknown_to_the_database_is_kept_and_reported(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    former = place(image="former:1", command=["serve"])
    reconcile(foundry.pk)
    (uid,) = engine.by_uid
    restored_without(former)
    waiting = place()

    for _ in range(3):
        reconcile(foundry.pk)

    assert engine.by_uid[uid].stops == []
    assert list(engine.by_uid) == [uid]
    waiting.refresh_from_db()
    assert waiting.status == Status.PENDING
    assert "Unknown containers are on foundry" in waiting.status_reason
    event = Event.objects.get(subject="cluster", subject_id=foundry.pk, kind="unknown_container")
    assert (event.data["container"], event.data["image"]) == (str(uid), "former:1")
    assert f"manage.py claim_engine {foundry.pk}" in event.reason
    (described,) = Connection.objects.get(cluster=foundry).unknown_containers
    assert described["command"] == ["serve"]


def test_launches_continue_when_an_unknown_container_is_gone(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    former = place()
    reconcile(foundry.pk)
    restored_without(former)
    waiting = place()
    reconcile(foundry.pk)

    engine.by_uid.clear()
    reconcile(foundry.pk)
    place(deployment=waiting)
    reconcile(foundry.pk)

    waiting.refresh_from_db()
    assert waiting.status == Status.RUNNING
    assert Connection.objects.get(cluster=foundry).unknown_containers == []


def test_a_deployment_can_be_stopped_while_an_unknown_container_is_there(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    kept, former = place(), place()
    reconcile(foundry.pk)
    restored_without(former)
    reconcile(foundry.pk)

    services.stop(kept, actor="bob")
    reconcile(foundry.pk)

    kept.refresh_from_db()
    assert kept.status == Status.STOPPED
    assert len(engine.by_uid) == 1


@pytest.mark.parametrize("way", ["its deployment", "a line of SQL"])
def test_a_container_whose_run_was_deleted_is_remembered_and_removed(
    foundry: Cluster, engine: FakeEngine, place: Submit, way: str
) -> None:
    engine.ignores_stop = True
    evicted = place()
    reconcile(foundry.pk)
    if way == "its deployment":
        services.preempt(evicted, actor="olga")
        services.delete(Deployment.objects.get(pk=evicted.pk), actor="bob")
    else:
        Run.objects.all().delete()

    reconcile(foundry.pk)

    assert engine.by_uid == {}
    assert not Event.objects.filter(kind="unknown_container").exists()


def test_the_record_of_a_deleted_runs_container_is_deleted_once_the_container_is_gone(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    place()
    reconcile(foundry.pk)
    engine.is_down = True
    Run.objects.all().delete()
    AbandonedContainer.objects.update(since=timezone.now() - timedelta(hours=2))
    reconcile(foundry.pk)
    assert AbandonedContainer.objects.exists()
    engine.is_down = False

    reconcile(foundry.pk)
    reconcile(foundry.pk)

    assert engine.by_uid == {}
    assert not AbandonedContainer.objects.exists()


def test_a_run_that_was_never_launched_owns_no_container(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    run = place().runs.get()
    assert run.container is None

    reconcile(foundry.pk)

    run.refresh_from_db()
    assert run.container == run.container_uid
    assert list(engine.by_uid) == [run.container]


def test_a_repeated_start_uses_the_same_container_uid(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    run = place().runs.get()
    engine.refusal = DriverError("its disk is full", retriable=True)
    reconcile(foundry.pk)
    run.refresh_from_db()
    first = run.container_uid
    assert first
    assert run.container is None
    engine.refusal = DriverError("no answer", retriable=True, cause=Cause.UNREACHABLE)
    reconcile(foundry.pk)
    run.refresh_from_db()
    assert run.container == first

    engine.refusal = None
    reconcile(foundry.pk)

    assert [spec.uid for spec in engine.starts] == [first]


def test_a_container_without_a_container_uid_still_belongs_to_its_run(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    run = deployment.runs.get()
    (container,) = engine.by_uid.values()
    engine.by_uid.clear()
    container.change(uid=uid_by_run(run.pk))
    engine.by_uid[uid_by_run(run.pk)] = container
    Run.objects.filter(pk=run.pk).update(container_uid=None)

    reconcile(foundry.pk)
    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING
    engine.exit(run.pk, 0)
    reconcile(foundry.pk)

    deployment.refresh_from_db()
    assert deployment.status == Status.COMPLETED
    assert engine.by_uid == {}


def test_a_repeated_start_after_an_upgrade_uses_the_same_container_uid(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    run = place().runs.get()
    Run.objects.filter(pk=run.pk).update(launched_at=timezone.now())

    reconcile(foundry.pk)

    assert [spec.uid for spec in engine.starts] == [uid_by_run(run.pk)]


@pytest.mark.parametrize("run_id", [1, 4711, 2**63 - 1])
def test_a_random_uid_is_never_the_uid_derived_from_a_run(run_id: int) -> None:
    assert uid_by_run(run_id).version is None


def test_the_records_of_containers_on_a_deleted_cluster_are_deleted(
    foundry: Cluster, forge: Cluster
) -> None:
    for cluster in (foundry, forge):
        AbandonedContainer.objects.create(uid=uuid4(), cluster=cluster, run_id=1)
    forge.delete()

    purge_outputs()

    assert [row.cluster_id for row in AbandonedContainer.objects.all()] == [foundry.pk]
