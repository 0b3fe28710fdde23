"""Engines that do not answer: reported, and declared lost only by decision of an operator."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.drivers.base import DriverError
from clusters.models import Cluster, Connection
from deployments import moves, services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime import lost_contact
from deployments.runtime.models import Run
from hypervisor.base.errors import Conflict
from hypervisor.base.secrets import CannotDecrypt
from orgs.models import Event, Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.verify import violations
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.fake_engine import FakeDriver, FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def after(seconds: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False)


def kinds(cluster: Cluster) -> list[str]:
    events = Event.objects.filter(subject="cluster", subject_id=cluster.pk).order_by("pk")
    return [event.kind for event in events if event.kind != "created"]


def lose(engine: FakeEngine, cluster: Cluster) -> None:
    """Make the engine unreachable for a minute."""
    engine.is_down = True
    reconcile(cluster.pk)
    Connection.objects.filter(cluster=cluster).update(
        lost_contact_at=timezone.now() - timedelta(seconds=60)
    )
    reconcile(cluster.pk)


def test_credentials_that_no_key_decrypts_are_reported_as_lost_contact(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    place()

    def sealed() -> None:
        raise CannotDecrypt("None of the keys opens it.")

    monkeypatch.setattr(engine, "call", sealed)
    reconcile(foundry.pk)

    assert Connection.objects.get().last_error == "None of the keys opens it."


def test_a_short_failure_is_recorded_but_not_reported(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    engine.is_down = True

    reconcile(foundry.pk)

    row = Connection.objects.get()
    assert row.lost_contact_at is not None
    assert row.last_error == "no route to host"
    assert kinds(foundry) == []
    assert fresh(deployment).status_code == "running"


def test_the_first_failure_is_the_time_of_the_loss(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.is_down = True
    reconcile(foundry.pk)
    first = Connection.objects.get().lost_contact_at

    with after(20):
        reconcile(foundry.pk)

    assert Connection.objects.get().lost_contact_at == first


def test_lost_contact_is_reported_once_for_the_cluster_and_its_deployments(
    foundry: Cluster, engine: FakeEngine, place: Submit, client_for: ClientFor, bob: User
) -> None:
    deployment = place()
    reconcile(foundry.pk)

    lose(engine, foundry)
    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code) == (Status.RUNNING, "lost_contact")
    assert "it may still run there, so its resources stay allocated" in row.status_reason
    assert kinds(foundry) == ["lost_contact"]
    assert (
        Event.objects.filter(
            subject="deployment", subject_id=deployment.pk, kind="lost_contact"
        ).count()
        == 1
    )
    answer = client_for(bob).get(f"/deployments/{deployment.pk}").data
    since = datetime.fromisoformat(answer["lost_contact_at"])
    cluster = client_for(bob).get(f"/clusters/{foundry.pk}").data
    assert cluster["lost_contact_at"] == answer["lost_contact_at"]
    assert since == Connection.objects.get().lost_contact_at
    assert list(violations()) == []


def test_deployments_without_contact_stay_allocated_and_nothing_new_is_placed(
    acme: Organization, foundry: Cluster, engine: FakeEngine, place: Submit, submit: Submit
) -> None:
    running = place(cpu_milli=4000)
    reconcile(foundry.pk)
    lose(engine, foundry)
    waiting = submit(cpu_milli=1000, priority=100)

    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    assert fresh(running).cluster == foundry
    assert fresh(waiting).status == Status.PENDING
    assert (
        "the clusters that could run it are out of contact or unclaimed: foundry"
        in fresh(waiting).status_reason
    )


def test_explain_mentions_the_lost_contact(
    acme: Organization, foundry: Cluster, engine: FakeEngine, submit: Submit,
    client_for: ClientFor, bob: User,
) -> None:  # fmt: skip
    lose(engine, foundry)
    waiting = submit()

    explanation = client_for(bob).get(f"/deployments/{waiting.pk}/explain").data

    assert explanation["code"] == "cluster_lost"
    assert explanation["clusters"][0]["why"] == (
        "foundry: the cluster is out of contact or its engine is unclaimed."
    )


def test_a_deployment_that_was_never_launched_is_placed_elsewhere_at_once(
    foundry: Cluster, forge: Cluster, engine: FakeEngine, place: Submit, acme: Organization
) -> None:
    engine.is_down = True
    deployment = place()

    lose(engine, foundry)
    assert fresh(deployment).status == Status.PENDING
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    reconcile(forge.pk)

    assert (fresh(deployment).cluster, fresh(deployment).status) == (forge, Status.RUNNING)


def test_a_deployment_that_may_have_been_launched_waits(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    Run.objects.update(launched_at=timezone.now())

    lose(engine, foundry)

    assert fresh(deployment).status == Status.STARTING
    assert fresh(deployment).status_code == "lost_contact"


def test_a_failure_at_one_container_does_not_affect_the_others(
    foundry: Cluster, engine: FakeEngine, place: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = place(), place()
    reconcile(foundry.pk)
    for deployment in (broken, other):
        services.stop(deployment, actor="bob")
    original = FakeDriver.stop

    def stop(driver: FakeDriver, uid: UUID, grace_seconds: int, now: datetime) -> None:
        if uid == broken.runs.get().container:
            raise DriverError("its disk is full", retriable=True)
        original(driver, uid, grace_seconds, now)

    monkeypatch.setattr(FakeDriver, "stop", stop)
    reconcile(foundry.pk)

    assert (fresh(broken).status, fresh(other).status) == (Status.STOPPING, Status.STOPPED)
    assert Connection.objects.get().lost_contact_at is None


def test_regained_contact_is_reported_once_however_much_there_is_to_do(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    ended = place()
    reconcile(foundry.pk)
    lose(engine, foundry)
    engine.exit(ended.runs.get().pk, 0)
    engine.is_down = False

    reconcile(foundry.pk)

    assert fresh(ended).status == Status.COMPLETED
    assert kinds(foundry) == ["lost_contact", "contact_regained"]


def test_regained_contact_is_reported_and_deployments_continue(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    lose(engine, foundry)
    engine.is_down = False

    reconcile(foundry.pk)

    row = Connection.objects.get()
    assert (row.lost_contact_at, row.last_error) == (None, "")
    assert kinds(foundry) == ["lost_contact", "contact_regained"]
    assert (fresh(deployment).status, fresh(deployment).status_code) == ("running", "running")
    assert deployment.runs.count() == 1


def test_a_deployment_whose_container_is_gone_when_contact_is_regained_is_placed_again(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    lose(engine, foundry)
    engine.by_uid.clear()
    engine.is_down = False

    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.restarts) == ("pending", "container_vanished", 0)


def test_deployments_on_a_cluster_that_is_declared_lost_run_elsewhere(
    acme: Organization, foundry: Cluster, forge: Cluster, engine: FakeEngine, place: Submit
) -> None:
    running, stopping = place(), place()
    reconcile(foundry.pk)
    lose(engine, foundry)
    services.stop(stopping, actor="bob")

    lost_contact.declare_lost(foundry, actor="olga")
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    reconcile(forge.pk)

    assert (fresh(running).status, fresh(running).cluster) == (Status.RUNNING, forge)
    assert fresh(stopping).status == Status.STOPPED
    event = Event.objects.get(subject="cluster", kind="declared_lost")
    assert event.actor == "olga"
    assert event.data == {"requeued": [running.pk], "stopped": [stopping.pk]}
    assert list(violations()) == []


def test_containers_on_a_lost_engine_that_answers_again_are_removed_before_any_launch(
    acme: Organization, foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    old = place(gpu=2, cpu_milli=8000)
    reconcile(foundry.pk)
    (old_run,) = engine.running
    lose(engine, foundry)
    lost_contact.declare_lost(foundry, actor="olga")
    engine.is_down = False
    together = []
    original = engine.call

    def observe() -> None:
        together.append(len(engine.running) > 1)
        original()

    engine.call = observe  # type: ignore[method-assign]
    reconcile(foundry.pk)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    reconcile(foundry.pk)

    assert old_run not in engine.containers
    assert not any(together)
    assert fresh(old).status == Status.RUNNING
    assert old.runs.count() == 2
    assert "orphan_removed" in kinds(foundry)


def test_a_cluster_that_answers_cannot_be_declared_lost(foundry: Cluster, place: Submit) -> None:
    place()

    with pytest.raises(Conflict, match="drain the cluster instead"):
        lost_contact.declare_lost(foundry, actor="olga")


def test_no_cluster_is_declared_lost_automatically_by_default(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    lose(engine, foundry)

    with after(10**6):
        reconcile(foundry.pk)

    assert fresh(deployment).status == Status.RUNNING


def test_a_cluster_is_declared_lost_after_the_time_that_operators_set(
    foundry: Cluster, engine: FakeEngine, place: Submit, settings: Settings
) -> None:
    settings.LOST_CONTACT_REQUEUE_SECONDS = 600
    deployment = place()
    reconcile(foundry.pk)
    lose(engine, foundry)
    assert fresh(deployment).status == Status.RUNNING

    with after(600):
        reconcile(foundry.pk)
        reconcile(foundry.pk)

    assert (fresh(deployment).status, fresh(deployment).status_code) == (
        Status.PENDING, "declared_lost",
    )  # fmt: skip
    assert kinds(foundry) == ["lost_contact", "declared_lost"]


def test_a_deployment_cannot_be_moved_to_a_cluster_without_contact(
    foundry: Cluster, forge: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(cluster=forge)
    lose(engine, foundry)

    with pytest.raises(Conflict, match="its engine is not available"):
        moves.move(deployment, actor="olga", target=foundry)
    with pytest.raises(Conflict, match="no other cluster"):
        moves.move(deployment, actor="olga")


def test_the_command_declares_a_cluster_lost_or_explains_why_not(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    with pytest.raises(CommandError, match="drain the cluster instead"):
        call_command("declare_lost", str(foundry.pk))
    with pytest.raises(CommandError, match="no cluster 4711"):
        call_command("declare_lost", "4711")
    lose(engine, foundry)

    call_command("declare_lost", str(foundry.pk))

    assert fresh(deployment).status == Status.PENDING
