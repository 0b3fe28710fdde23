"""What follows for a deployment whose container fails to start, ends or vanishes."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError
from clusters.models import Cluster
from deployments import services
from deployments.choices import RestartPolicy, Status
from deployments.models import Deployment
from deployments.runtime import outcomes
from deployments.runtime.models import Run
from orgs.models import Event
from tests.fixtures.deployments import Submit
from tests.support.clock import at
from tests.support.fake_engine import SLOW, FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def run_of(deployment: Deployment) -> int:
    return deployment.runs.order_by("-pk")[0].pk


def fresh(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def fail(engine: FakeEngine, deployment: Deployment, code: int = 1) -> Deployment:
    engine.exit(run_of(deployment), code)
    reconcile(deployment.cluster_id or 0)
    return fresh(deployment)


def test_running_out_of_storage_is_reported_and_restarted_like_other_failures(
    engine: FakeEngine, place: Submit, foundry: Cluster
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    reconcile(foundry.pk)

    engine.exit(run_of(deployment), 137, Cause.OUT_OF_STORAGE, "Used more than 10 MiB.")
    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.restarts) == (Status.PENDING, "restart_backoff", 1)
    assert row.status_reason.startswith("Used more than 10 MiB. Restart 1 of 1")


def test_running_out_of_memory_is_reported_with_the_limit_and_the_remedy(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(ram_mib=2048)
    reconcile(foundry.pk)

    engine.exit(run_of(deployment), 137, Cause.OUT_OF_MEMORY)
    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.exit_code) == (Status.FAILED, "out_of_memory", 137)
    assert "2,048 MiB" in row.status_reason
    assert "Request more `ram_mib`" in row.status_reason


@pytest.mark.parametrize(
    "cause",
    [
        Cause.IMAGE_NOT_FOUND, Cause.IMAGE_NOT_PULLABLE, Cause.COMMAND_NOT_FOUND,
        Cause.INVALID_SPEC, Cause.OVER_CAPACITY, Cause.NO_DEVICE,
    ],
)  # fmt: skip
def test_each_refused_start_fails_with_its_code_and_the_engines_message(
    foundry: Cluster, engine: FakeEngine, place: Submit, cause: Cause
) -> None:
    deployment = place(gpu=1)
    engine.refusal = DriverError("Do this.", retriable=False, cause=cause)

    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.status_reason) == (Status.FAILED, cause, "Do this.")
    assert not Run.objects.unfinished().exists()
    event = Event.objects.get(subject="deployment", subject_id=deployment.pk, kind="failed")
    assert event.data["code"] == cause
    assert event.data["run"] == run_of(deployment)


@pytest.mark.parametrize(
    "cause", [Cause.ENGINE_FAILED, Cause.ENGINE_EVICTED, Cause.NODE_LOST], ids=str
)
def test_a_failure_of_the_engine_is_not_a_failure_of_the_deployment(
    foundry: Cluster, engine: FakeEngine, place: Submit, cause: Cause
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    reconcile(foundry.pk)

    engine.exit(run_of(deployment), 137, cause, "The node went away.")
    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.restarts) == (Status.PENDING, cause, 0)
    assert row.ready_after is None
    assert row.status_reason == "The node went away: it waits to be placed again."


@pytest.mark.parametrize(
    "ahead", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"]
)
def test_a_restart_waits_its_time_although_the_engines_clock_is_wrong(
    foundry: Cluster, engine: FakeEngine, place: Submit, ahead: timedelta
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    reconcile(foundry.pk)
    now = timezone.now()
    engine.containers[run_of(deployment)].change(exited_at=now + ahead)

    with time_machine.travel(now, tick=False):
        row = fail(engine, deployment)

    assert row.ready_after == now + outcomes.FIRST_DELAY


def test_repeated_failures_of_an_engine_lead_to_longer_waits(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    for _ in range(2):
        reconcile(foundry.pk)
        engine.exit(run_of(deployment), 137, Cause.ENGINE_FAILED)
        reconcile(foundry.pk)
        place(deployment=deployment)
    reconcile(foundry.pk)
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        engine.exit(run_of(deployment), 137, Cause.ENGINE_FAILED)
        reconcile(foundry.pk)

    assert fresh(deployment).ready_after == now + timedelta(seconds=20)


def test_without_a_policy_a_failure_is_final(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)

    row = fail(engine, deployment, 3)

    assert (row.status, row.status_code, row.status_reason) == (
        Status.FAILED, "exit_code", "Exited with code 3: see its logs.",
    )  # fmt: skip


def test_a_failed_deployment_restarts_after_longer_and_longer_waits_up_to_the_maximum(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=2)
    waits = []
    for _ in range(2):
        reconcile(foundry.pk)
        with time_machine.travel(timezone.now(), tick=False):
            row = fail(engine, deployment)
            assert row.ready_after is not None
            waits.append((row.ready_after - timezone.now()).total_seconds())
        assert (row.status, row.status_code, row.exit_code) == (
            Status.PENDING, "restart_backoff", 1,
        )  # fmt: skip
        place(deployment=deployment)
    reconcile(foundry.pk)
    row = fail(engine, deployment)

    assert waits == [10, 20]
    assert (row.status, row.restarts) == (Status.FAILED, 2)
    assert "No restart is left: its `max_restarts` is 2." in row.status_reason
    assert [run.outcome for run in deployment.runs.all()] == ["failed"] * 3


def test_a_run_of_ten_minutes_resets_the_count_of_restarts(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    reconcile(foundry.pk)
    fail(engine, deployment)
    place(deployment=deployment)
    reconcile(foundry.pk)

    with at(600):
        row = fail(engine, deployment)

    assert (row.status, row.restarts) == (Status.PENDING, 1)


def test_an_eviction_does_not_count_as_a_restart(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    reconcile(foundry.pk)

    services.preempt(deployment, actor="olga")
    reconcile(foundry.pk)

    assert (fresh(deployment).restarts, fresh(deployment).status) == (0, Status.PENDING)


def test_a_failure_that_would_recur_causes_no_restart(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE)
    engine.refusal = DriverError("No such image.", retriable=False, cause=Cause.IMAGE_NOT_FOUND)

    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.FAILED


def test_starting_again_resets_the_count_of_restarts(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE, max_restarts=1)
    for _ in range(2):
        reconcile(foundry.pk)
        fail(engine, deployment)
        if fresh(deployment).status == Status.PENDING:
            place(deployment=deployment)

    services.start(deployment, actor="bob")

    assert fresh(deployment).restarts == 0


@pytest.mark.parametrize(("restart", "seconds"), [(1, 10), (2, 20), (5, 160), (6, 300), (999, 300)])
def test_the_wait_doubles_up_to_five_minutes(restart: int, seconds: int) -> None:
    assert outcomes.delay(restart) == timedelta(seconds=seconds)


def test_a_preparation_is_reported_once_and_not_mistaken_for_a_fetch(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(image=SLOW)
    reconcile(foundry.pk)
    reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code) == (Status.STARTING, "preparing")
    assert row.status_reason == "Its container is being prepared on foundry."
    assert (
        Event.objects.filter(
            subject="deployment", subject_id=deployment.pk, kind="preparing"
        ).count()
        == 1
    )


def test_a_start_that_may_still_succeed_is_repeated_for_a_limited_time(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    engine.refusal = DriverError("The registry is slow.", retriable=True, cause=Cause.ENGINE_FAILED)

    reconcile(foundry.pk)
    row = fresh(deployment)
    assert (row.status, row.status_code) == (Status.STARTING, "engine_failed")
    assert row.status_reason == "Could not start yet, and is tried again: The registry is slow."
    with at(301):
        reconcile(foundry.pk)

    assert fresh(deployment).status == Status.PENDING


def test_fetching_an_image_has_no_time_limit(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    engine.refusal = DriverError(
        "Image big:1 is being pulled.", retriable=True, cause=Cause.FETCHING_IMAGE
    )
    reconcile(foundry.pk)
    with at(7200):
        reconcile(foundry.pk)

        row = fresh(deployment)
        assert (row.status, row.status_code) == (Status.STARTING, "fetching_image")
        assert row.status_reason == "Image big:1 is being pulled."
        assert (
            Event.objects.filter(
                subject="deployment", subject_id=deployment.pk, kind="preparing"
            ).count()
            == 1
        )
        engine.refusal = None
        reconcile(foundry.pk)
        assert fresh(deployment).status == Status.RUNNING


def test_an_exit_with_0_after_an_eviction_by_the_engine_is_not_a_completion(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)

    engine.exit(run_of(deployment), 0, Cause.ENGINE_FAILED, "Ended with its engine.")
    reconcile(foundry.pk)

    assert fresh(deployment).status == Status.PENDING


def test_a_deployment_killed_after_its_grace_time_has_that_in_its_reason(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    deployment = place()
    reconcile(foundry.pk)
    services.stop(deployment, actor="bob")

    reconcile(foundry.pk)
    assert fresh(deployment).status == Status.STOPPING
    with at(11):
        reconcile(foundry.pk)

    row = fresh(deployment)
    assert (row.status, row.status_code, row.exit_code) == (
        Status.STOPPED, "killed_after_grace", 137,
    )  # fmt: skip
    assert row.status_reason == (
        "Stopped by bob. It did not end within 10 s of SIGTERM, so it was killed."
    )


def test_a_deployment_killed_after_its_eviction_has_that_in_its_history(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    deployment = place()
    reconcile(foundry.pk)
    services.preempt(deployment, actor="olga")
    reconcile(foundry.pk)

    with at(11):
        reconcile(foundry.pk)

    event = Event.objects.get(subject="deployment", subject_id=deployment.pk, kind="killed")
    assert "within 10 s of SIGTERM" in event.reason
    assert deployment.runs.get().exit_code == 137


def test_a_container_that_ended_before_it_was_observed_has_run(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(image=SLOW)
    reconcile(foundry.pk)
    engine.exit(run_of(deployment), 0)

    reconcile(foundry.pk)

    kinds = Event.objects.filter(subject="deployment", subject_id=deployment.pk).order_by("pk")
    assert [e.kind for e in kinds][-2:] == ["running", "completed"]
    assert fresh(deployment).started_at is not None


def test_a_deployment_restarts_only_after_its_back_off(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(restart_policy=RestartPolicy.ON_FAILURE)
    reconcile(foundry.pk)
    fail(engine, deployment)

    assert not Deployment.objects.ready(timezone.now()).exists()
    with at(11):
        assert Deployment.objects.ready(timezone.now()).get() == deployment
