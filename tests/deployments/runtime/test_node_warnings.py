"""An engine's warnings about running containers are shown, and cleared when they end."""

import pytest

from clusters.drivers.base import Cause
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db


def reasons_of(deployment: Deployment) -> list[str]:
    events = Event.objects.filter(subject="deployment", subject_id=deployment.pk).order_by("pk")
    return [event.reason for event in events if event.kind == "caution"]


def test_a_node_that_does_not_respond_is_reported_once_and_cleared_when_it_responds(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    deployment = place()
    reconcile(foundry.pk)
    run = Run.objects.current().get(deployment=deployment)

    engine.change(run.pk, cause=Cause.NODE_LOST, message="Node n does not answer.")
    reconcile(foundry.pk)
    reconcile(foundry.pk)
    deployment.refresh_from_db()
    meanwhile = deployment.status, deployment.status_code
    engine.change(run.pk, cause=None, message="")
    reconcile(foundry.pk)

    deployment.refresh_from_db()
    assert meanwhile == (Status.RUNNING, "node_lost")
    assert (deployment.status, deployment.status_code) == (Status.RUNNING, "running")
    assert reasons_of(deployment) == ["Node n does not answer.", "Runs on foundry."]
