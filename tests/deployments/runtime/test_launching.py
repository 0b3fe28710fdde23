"""A container starts only with resources and GPUs that nothing else may still use."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from clusters.drivers.base import Phase
from clusters.models import Cluster
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import SLOW, FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def status_of(deployment: Deployment) -> str:
    return Deployment.objects.get(pk=deployment.pk).status


def after(seconds: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False)


def devices_of(deployment: Deployment) -> list[str]:
    return list(deployment.runs.order_by("-pk")[0].devices)


def test_each_gpu_goes_to_one_run_and_is_recorded(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    first, second, none = place(gpu=1), place(gpu=1), place(gpu=0)

    reconcile(foundry.pk)

    assert sorted([*devices_of(first), *devices_of(second)]) == ["g0", "g1"]
    assert devices_of(none) == []
    for deployment in (first, second):
        run = deployment.runs.get()
        assert list(engine.containers[run.pk].spec.devices) == run.devices


def test_a_preemptor_gets_its_victims_gpu_only_when_the_container_is_gone(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    engine.ignores_stop = True
    victim = place(gpu=2)
    reconcile(foundry.pk)
    services.preempt(victim, actor="olga")
    preemptor = place(gpu=1)

    reconcile(foundry.pk)
    assert status_of(preemptor) == Status.STARTING
    assert devices_of(preemptor) == []
    with after(11):
        reconcile(foundry.pk)

    assert status_of(preemptor) == Status.RUNNING
    assert devices_of(preemptor) == ["g0"]


def test_resources_are_in_use_while_the_image_is_being_fetched(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    slow = place(image=SLOW, cpu_milli=6000)
    reconcile(foundry.pk)
    services.preempt(slow, actor="olga")
    engine.ignores_stop = True
    other = place(cpu_milli=6000)

    reconcile(foundry.pk)

    assert engine.running == {slow.runs.get().pk}
    assert status_of(other) == Status.STARTING


def test_nothing_starts_while_a_container_of_no_run_is_there(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    """An orphan's resources are not in the ledger, so it must be removed first."""
    stray = place(cpu_milli=1000)
    reconcile(foundry.pk)
    run_id = stray.runs.get().pk
    container = engine.containers[run_id]
    Run.objects.filter(pk=run_id).delete()
    Deployment.objects.filter(pk=stray.pk).delete()
    waiting = place()
    starts = len(engine.starts)
    engine.change(run_id, phase=Phase.PREPARING)

    observations = []
    original = engine.call

    def observe() -> None:
        observations.append((run_id in engine.running, len(engine.starts) > starts))
        original()

    engine.call = observe  # type: ignore[method-assign]
    reconcile(foundry.pk)

    assert container.stops == [0]
    assert (True, True) not in observations
    assert status_of(waiting) == Status.RUNNING
    assert run_id not in engine.containers
    event = Event.objects.get(subject="cluster", subject_id=foundry.pk, kind="orphan_removed")
    assert event.data["run"] == run_id


def test_a_start_whose_response_was_lost_keeps_its_resources_until_it_is_settled(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    """A worker was killed during the call and the run evicted; the engine may still start it."""
    lost = place(cpu_milli=8000)
    Run.objects.filter(deployment=lost).update(launched_at=timezone.now())
    services.preempt(lost, actor="olga")
    other = place(cpu_milli=8000)

    reconcile(foundry.pk)
    assert status_of(other) == Status.STARTING
    with after(31):
        reconcile(foundry.pk)

    assert status_of(other) == Status.RUNNING


def test_a_start_is_repeated_with_the_same_gpus_after_a_worker_was_killed(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place(gpu=1)
    Run.objects.filter(deployment=deployment).update(launched_at=timezone.now(), devices=["g1"])

    reconcile(foundry.pk)

    assert status_of(deployment) == Status.RUNNING
    assert engine.starts[0].devices == ("g1",)


def test_a_gpu_in_use_by_a_container_is_not_assigned_again_whatever_the_runs_record(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    old = place(gpu=0)
    reconcile(foundry.pk)
    engine.change(old.runs.get().pk, devices=("g0",))
    new = place(gpu=1)

    reconcile(foundry.pk)

    assert devices_of(new) == ["g1"]


def test_a_container_that_ended_frees_its_gpu_at_once(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    first = place(gpu=2)
    reconcile(foundry.pk)
    engine.exit(first.runs.get().pk, 0)
    reconcile(foundry.pk)
    second = place(gpu=2)

    reconcile(foundry.pk)

    assert devices_of(second) == ["g0", "g1"]
