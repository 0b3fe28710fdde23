from datetime import datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from clusters.models import Cluster, SimulatedContainer
from deployments import lifecycle, services
from deployments.choices import Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime.models import Run
from tests.fixtures.deployments import Submit
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def place(deployment: Deployment, cluster: Cluster) -> None:
    transition(
        lifecycle.PLACE,
        [Change(deployment.pk, "placed", cluster=cluster.pk)],
        actor="system:scheduler",
        now=timezone.now(),
    )


def evict(deployment: Deployment) -> None:
    transition(
        lifecycle.EVICT, [Change(deployment.pk, "evicted")], actor="system:scheduler",
        now=timezone.now(),
    )  # fmt: skip


def at(seconds: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False)


def status_of(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    return deployment.status


def test_a_placed_deployment_runs_after_one_reconciliation(forge: Cluster, submit: Submit) -> None:
    deployment = submit()
    place(deployment, forge)

    reconcile(forge.pk)

    assert status_of(deployment) == Status.RUNNING
    assert deployment.started_at is not None


def test_a_container_that_exits_with_zero_completes(forge: Cluster, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_RUN_SECONDS": "5"})
    place(deployment, forge)
    reconcile(forge.pk)

    with at(6):
        reconcile(forge.pk)

    assert status_of(deployment) == Status.COMPLETED
    assert deployment.exit_code == 0
    assert not SimulatedContainer.objects.exists()
    assert not Run.objects.unfinished().exists()


def test_a_container_that_exits_with_a_code_fails_with_it(forge: Cluster, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_EXIT_CODE": "3"})
    place(deployment, forge)

    reconcile(forge.pk)

    assert status_of(deployment) == Status.FAILED
    assert deployment.exit_code == 3
    assert "code 3" in deployment.status_reason


def test_an_image_that_cannot_be_pulled_fails_with_the_remedy(
    forge: Cluster, submit: Submit
) -> None:
    deployment = submit(image="simulated/missing")
    place(deployment, forge)

    reconcile(forge.pk)

    assert status_of(deployment) == Status.FAILED
    assert "correct `image`" in deployment.status_reason


def test_max_runtime_ends_as_completed(forge: Cluster, submit: Submit) -> None:
    deployment = submit(max_runtime_s=60)
    place(deployment, forge)
    reconcile(forge.pk)

    with at(59):
        reconcile(forge.pk)
        assert status_of(deployment) == Status.RUNNING
    with at(61):
        reconcile(forge.pk)

    assert status_of(deployment) == Status.COMPLETED
    assert "(60 s)" in deployment.status_reason


def test_a_stop_ends_as_stopped_once_the_container_is_gone(forge: Cluster, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_STOP_SECONDS": "4"})
    place(deployment, forge)
    reconcile(forge.pk)
    services.stop(deployment, actor="bob")

    reconcile(forge.pk)
    assert status_of(deployment) == Status.STOPPING
    with at(5):
        reconcile(forge.pk)

    assert status_of(deployment) == Status.STOPPED


def test_a_stop_before_any_container_ends_as_stopped(forge: Cluster, submit: Submit) -> None:
    deployment = submit()
    place(deployment, forge)
    services.stop(deployment, actor="bob")

    reconcile(forge.pk)

    assert status_of(deployment) == Status.STOPPED
    assert not SimulatedContainer.objects.exists()


def test_a_container_starts_only_when_stopping_ones_have_freed_its_resources(
    forge: Cluster, submit: Submit
) -> None:
    victim = submit(cpu_milli=8000, env={"SIMULATE_STOP_SECONDS": "4"})
    preemptor = submit(cpu_milli=8000, priority=90)
    place(victim, forge)
    reconcile(forge.pk)
    evict(victim)
    place(preemptor, forge)

    reconcile(forge.pk)
    assert status_of(preemptor) == Status.STARTING
    assert SimulatedContainer.objects.count() == 1
    with at(5):
        reconcile(forge.pk)

    assert status_of(preemptor) == Status.RUNNING
    assert status_of(victim) == Status.PENDING


def test_a_deployment_never_has_two_containers_at_once(forge: Cluster, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_STOP_SECONDS": "4"})
    place(deployment, forge)
    reconcile(forge.pk)
    evict(deployment)
    place(deployment, forge)

    reconcile(forge.pk)
    assert SimulatedContainer.objects.count() == 1
    with at(5):
        reconcile(forge.pk)

    assert status_of(deployment) == Status.RUNNING
    assert SimulatedContainer.objects.get().run_id == deployment.runs.current().get().pk


def test_a_deployment_whose_container_vanished_is_queued_again(
    forge: Cluster, submit: Submit
) -> None:
    deployment = submit()
    queued_at = deployment.queued_at
    place(deployment, forge)
    reconcile(forge.pk)
    SimulatedContainer.objects.all().delete()

    reconcile(forge.pk)

    assert status_of(deployment) == Status.PENDING
    assert deployment.queued_at == queued_at
    assert "vanished" in deployment.status_reason


def test_a_container_of_no_unfinished_run_is_removed(forge: Cluster, submit: Submit) -> None:
    deployment = submit()
    place(deployment, forge)
    reconcile(forge.pk)
    evict(deployment)
    services.delete(deployment, actor="bob")

    reconcile(forge.pk)

    assert not SimulatedContainer.objects.exists()


def test_an_old_container_does_not_affect_a_new_run(forge: Cluster, submit: Submit) -> None:
    deployment = submit(env={"SIMULATE_RUN_SECONDS": "5"})
    place(deployment, forge)
    reconcile(forge.pk)
    with at(6):
        evict(deployment)
        place(deployment, forge)

        reconcile(forge.pk)

        assert status_of(deployment) == Status.RUNNING
        assert deployment.runs.count() == 2


def test_reconciling_twice_changes_nothing(forge: Cluster, submit: Submit) -> None:
    deployment = submit()
    place(deployment, forge)
    reconcile(forge.pk)
    before: datetime | None = Deployment.objects.get(pk=deployment.pk).started_at
    revision = Deployment.objects.get(pk=deployment.pk).revision

    reconcile(forge.pk)

    deployment.refresh_from_db()
    assert (deployment.started_at, deployment.revision) == (before, revision)
