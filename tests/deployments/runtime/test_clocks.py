"""Times that a wrong clock wrote do not delay anything."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from clusters.models import Cluster, Connection
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from scheduling.models import Pulse
from scheduling.monitoring import clocks, heartbeats
from tests.fixtures.deployments import Submit
from tests.support.fake_engine import FakeEngine
from tests.support.reconcile import reconcile

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def test_a_stop_does_not_wait_for_a_launch_in_the_future(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    with time_machine.travel(timezone.now() + DAY):
        deployment = place()
        engine.is_down = True
        reconcile(foundry.pk)
        engine.is_down = False
        Run.objects.update(launched_at=timezone.now())
    services.stop(deployment, actor="bob")

    reconcile(foundry.pk)

    deployment.refresh_from_db()
    assert deployment.status == Status.STOPPED


def test_a_loss_of_contact_in_the_future_counts_from_now(
    foundry: Cluster, engine: FakeEngine
) -> None:
    engine.is_down = True
    with time_machine.travel(timezone.now() + DAY):
        reconcile(foundry.pk)

    reconcile(foundry.pk)

    since = Connection.objects.get().lost_contact_at
    assert since is not None
    assert since <= timezone.now()


def test_times_in_the_future_are_corrected(
    foundry: Cluster, engine: FakeEngine, place: Submit
) -> None:
    with time_machine.travel(timezone.now() + DAY):
        place()
        reconcile(foundry.pk)
        services.stop(Deployment.objects.get(), actor="bob")
    heartbeats.record("engines here", timezone.now() + DAY)

    assert clocks.cut(actor="system:test") == 4
    assert clocks.cut(actor="system:test") == 0

    now, run, row = timezone.now(), Run.objects.get(), Deployment.objects.get()
    times = (
        run.placed_at, run.launched_at, run.started_at, run.released_at, row.placed_at,
        row.started_at, Pulse.objects.get().time, Connection.objects.get().marked_at,
    )  # fmt: skip
    assert [time for time in times if time is None or time > now] == []
