"""A deployment ends with its run, whatever else happens to it at the same time."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from clusters.drivers.base import Cause
from clusters.models import Cluster
from deployments import lifecycle, services
from deployments.choices import RestartPolicy, Status
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime.lost_contact import declare_lost
from deployments.runtime.models import Run
from deployments.tasks import reconcile_all
from orgs.models import Event
from scheduling.insight.verify import violations
from tests.fixtures.deployments import Submit
from tests.support.clock import at
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def rename(deployment: Deployment) -> None:
    services.adjust(fresh(deployment), actor="bob", name=f"{fresh(deployment).name}-again")


def reprioritize(deployment: Deployment) -> None:
    services.adjust(fresh(deployment), actor="bob", priority=fresh(deployment).priority % 100 + 1)


PATCHES = pytest.mark.parametrize("patch", [rename, reprioritize])
Patch = Callable[[Deployment], None]


@PATCHES
def test_a_stop_ends_although_the_deployment_is_changed_at_the_same_time(
    foundry: Cluster, engine: FakeEngine, place: Submit, patch: Patch
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    services.stop(deployment, actor="bob")
    engine.interruptions["remove"] = lambda: patch(deployment)

    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.STOPPED
    assert deployment.runs.get().ended_at is not None
    assert list(violations()) == []


@PATCHES
@pytest.mark.parametrize(
    ("code", "policy", "status"),
    [
        (0, RestartPolicy.NEVER, Status.COMPLETED),
        (3, RestartPolicy.NEVER, Status.FAILED),
        (3, RestartPolicy.ON_FAILURE, Status.PENDING),
    ],
)
def test_an_ending_counts_although_the_deployment_is_changed_at_the_same_time(
    foundry: Cluster, engine: FakeEngine, place: Submit, patch: Patch, code: int,
    policy: RestartPolicy, status: Status,
) -> None:  # fmt: skip
    deployment = place(restart_policy=policy)
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, code)
    engine.interruptions["observe"] = lambda: patch(deployment)

    reconcile(foundry.pk)

    assert fresh(deployment).status == status
    assert [run.ended_at is None for run in deployment.runs.all()] == [False]
    assert list(violations()) == []


@PATCHES
def test_a_vanished_container_counts_although_the_deployment_is_changed_at_the_same_time(
    foundry: Cluster, engine: FakeEngine, place: Submit, patch: Patch
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    engine.by_uid.clear()
    engine.interruptions["observe"] = lambda: patch(deployment)

    reconcile(foundry.pk)

    assert fresh(deployment).status_code == "container_vanished"


@PATCHES
def test_a_reached_run_time_counts_although_the_deployment_is_changed_at_the_same_time(
    foundry: Cluster, engine: FakeEngine, place: Submit, patch: Patch
) -> None:
    deployment = place(max_runtime_s=60)
    reconcile(foundry.pk)
    engine.interruptions["observe"] = lambda: patch(deployment)

    with at(61):
        reconcile(foundry.pk)

    assert fresh(deployment).status == Status.COMPLETED


def test_the_end_of_an_earlier_run_does_not_affect_the_present_run(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, 3)

    def is_placed_anew() -> None:
        services.requeue(deployment, actor="olga")
        place(deployment=deployment)

    engine.interruptions["observe"] = is_placed_anew

    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.RUNNING
    assert deployment.runs.count() == 2
    assert list(violations()) == []


def test_a_stop_during_a_regular_exit_stays_a_stop(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, 0)
    engine.interruptions["observe"] = lambda: services.stop(fresh(deployment), actor="bob")

    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.STOPPED
    assert deployment.runs.get().outcome == Run.Outcome.STOPPED


def test_a_stopping_deployment_that_was_never_started_ends_when_contact_is_lost(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    services.stop(deployment, actor="bob")
    engine.is_down = True
    reconcile(foundry.pk)

    with at(31):
        reconcile(foundry.pk)

    assert fresh(deployment).status == Status.STOPPED
    assert list(violations()) == []


def test_a_deployment_that_reached_its_run_time_on_a_lost_cluster_has_completed(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    deployment = place(max_runtime_s=60)
    reconcile(foundry.pk)
    with at(61):
        reconcile(foundry.pk)
        engine.is_down = True
        reconcile(foundry.pk)

        declare_lost(foundry, actor="olga")

    row = fresh(deployment)
    assert (row.status, row.status_code) == (Status.COMPLETED, "declared_lost")
    assert "foundry was declared lost by olga" in row.status_reason


def test_declaring_a_cluster_lost_does_not_affect_a_deployment_that_has_moved(
    foundry: Cluster, forge: Cluster, engine: FakeEngine, place: Submit
) -> None:
    """A deployment moves away between the read of the cluster's runs and their release."""
    deployment = place()
    reconcile(foundry.pk)
    engine.is_down = True
    reconcile(foundry.pk)
    former = deployment.runs.get().pk
    services.requeue(deployment, actor="olga")
    place(deployment=deployment, cluster=forge)

    late = [Change(deployment.pk, "lost", run=former)]
    assert not transition(lifecycle.REQUEUE, late, actor="olga", now=timezone.now())

    assert fresh(deployment).cluster == forge


def test_a_deployment_left_stopping_by_an_earlier_release_is_ended(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    services.stop(deployment, actor="bob")
    Run.objects.update(ended_at=timezone.now(), exit_code=143)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    (sentence,) = violations()
    assert sentence.startswith("stopping deployment whose run has ended")

    reconcile_all()

    row = fresh(deployment)
    assert (row.status, row.status_reason, row.exit_code) == (
        Status.STOPPED,
        "Stopped by bob.",
        143,
    )
    assert list(violations()) == []


def test_healing_does_not_affect_a_deployment_that_is_still_stopping(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    deployment = place()
    reconcile(foundry.pk)
    services.stop(deployment, actor="bob")

    reconcile_all()

    assert fresh(deployment).status == Status.STOPPING


def test_a_run_whose_cluster_was_deleted_is_ended(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    services.preempt(deployment, actor="olga")
    Run.objects.update(cluster=None)
    assert list(violations()) != []

    reconcile_all()

    assert list(violations()) == []


def test_an_external_kill_is_not_mistaken_for_the_end_of_the_grace_time(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE)
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, 137, Cause.ENGINE_EVICTED, "Killed from outside.")

    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.PENDING
    assert not Event.objects.filter(kind="killed").exists()


def test_an_external_kill_within_the_grace_time_is_not_mistaken_for_its_end(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    deployment = place()
    reconcile(foundry.pk)
    services.stop(deployment, actor="bob")
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, 137)

    with at(3):
        reconcile(foundry.pk)

    assert fresh(deployment).status_reason == "Stopped by bob."


def test_a_completed_deployment_mentions_a_process_that_was_killed_for_memory(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    engine.exit(deployment.runs.get().pk, 0, message="One of its processes was killed.")

    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.exit_code) == (Status.COMPLETED, "completed", 0)
    assert row.status_reason == "Exited with code 0. One of its processes was killed."


def test_a_new_name_does_not_invalidate_a_plan(forge: Cluster, submit: Submit) -> None:
    deployment = submit()

    rename(deployment)
    assert fresh(deployment).revision == deployment.revision

    reprioritize(deployment)
    assert fresh(deployment).revision == deployment.revision + 1
