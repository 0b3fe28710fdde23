"""Which engines the periodic task leaves out, because a pass would find nothing to do."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from clusters.drivers.base import Cause
from clusters.models import Cluster, SimulatedContainer
from clusters.wakeups import RECONCILE
from deployments import services
from deployments.models import Deployment
from deployments.runtime.models import AbandonedContainer, Run
from deployments.runtime.requests import periodic_requests
from tests.fixtures.deployments import Submit
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db

NOW = 0.0


def requested(cluster: Cluster) -> float | None:
    """Return the delay in seconds of the next request for the cluster, None if there is none."""
    return periodic_requests(timezone.now()).get((RECONCILE, cluster.pk))


@pytest.fixture
def running(forge: Cluster, place: Submit) -> Deployment:
    """A deployment that runs on forge, whose engine is simulated."""
    deployment = place(cluster=forge)
    reconcile(forge.pk)
    deployment.refresh_from_db()
    assert deployment.started_at
    return deployment


def test_an_engine_whose_containers_just_run_is_left_out(
    running: Deployment, forge: Cluster
) -> None:
    assert requested(forge) is None


def test_an_engine_is_left_out_again_after_the_pass(running: Deployment, forge: Cluster) -> None:
    exit_by_itself(running)
    assert requested(forge) == NOW

    reconcile(forge.pk)

    assert requested(forge) is None


def test_a_container_of_a_release_without_uids_is_recognized(
    running: Deployment, forge: Cluster
) -> None:
    Run.objects.update(container_uid=None)
    SimulatedContainer.objects.update(uid=None)

    assert requested(forge) is None


def stop(deployment: Deployment) -> None:
    services.stop(deployment, actor="bob")


def forget_start(deployment: Deployment) -> None:
    Deployment.objects.update(started_at=None)
    Run.objects.update(started_at=None)


def exit_by_itself(deployment: Deployment) -> None:
    SimulatedContainer.objects.update(exits_at=timezone.now())


def vanish(deployment: Deployment) -> None:
    SimulatedContainer.objects.all().delete()


def be_another(deployment: Deployment) -> None:
    run = Run.objects.get()
    SimulatedContainer.objects.update(uid="0b5a53a4-7f2f-4f36-8f1c-7bd20ec5bb2d", run_id=run.pk)


def leave_an_orphan(deployment: Deployment) -> None:
    container = SimulatedContainer.objects.get()
    container.pk, container.uid = None, "0b5a53a4-7f2f-4f36-8f1c-7bd20ec5bb2d"
    container.save()


def leave_an_exited_orphan(deployment: Deployment) -> None:
    leave_an_orphan(deployment)
    SimulatedContainer.objects.filter(uid="0b5a53a4-7f2f-4f36-8f1c-7bd20ec5bb2d").update(
        exits_at=timezone.now()
    )


def expire(deployment: Deployment) -> None:
    Run.objects.update(started_at=timezone.now() - timedelta(minutes=1))
    Deployment.objects.update(max_runtime_s=60)


def have_a_warning(deployment: Deployment) -> None:
    Deployment.objects.update(status_code=Cause.NODE_LOST)


def abandon(deployment: Deployment) -> None:
    AbandonedContainer.objects.create(
        uid="0b5a53a4-7f2f-4f36-8f1c-7bd20ec5bb2d", run_id=1,
        cluster=Cluster.objects.get(name="forge"),
        since=timezone.now() - timedelta(hours=2),
    )  # fmt: skip


@pytest.mark.parametrize(
    "disturb",
    [
        stop, forget_start, exit_by_itself, vanish, be_another, leave_an_orphan,
        leave_an_exited_orphan, expire, have_a_warning, abandon,
    ],
)  # fmt: skip
def test_every_disagreement_leads_to_a_pass(
    disturb: Callable[[Deployment], None], running: Deployment, forge: Cluster
) -> None:
    disturb(running)

    assert requested(forge) == NOW


def test_a_deployment_that_was_placed_and_whose_request_was_lost_leads_to_a_pass(
    running: Deployment, forge: Cluster, place: Submit
) -> None:
    place(cluster=forge)

    assert requested(forge) == NOW


@pytest.mark.parametrize("ending", ["exits", "expires"])
def test_a_pass_is_requested_for_an_ending_within_the_period(
    ending: str, running: Deployment, forge: Cluster
) -> None:
    if ending == "exits":
        SimulatedContainer.objects.update(exits_at=timezone.now() + timedelta(seconds=3))
    else:
        Run.objects.update(started_at=timezone.now() - timedelta(seconds=57))
        Deployment.objects.update(max_runtime_s=60)

    assert requested(forge) == pytest.approx(3, abs=1)


def test_no_pass_is_requested_for_an_ending_in_a_later_period(
    running: Deployment, forge: Cluster
) -> None:
    SimulatedContainer.objects.update(exits_at=timezone.now() + timedelta(minutes=1))

    assert requested(forge) is None
