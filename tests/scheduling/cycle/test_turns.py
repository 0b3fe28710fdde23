"""A cycle runs when a turn begins, and when it ends."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from pytest_django import DjangoCaptureOnCommitCallbacks

from clusters.wakeups import RUN_CYCLE
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit
from tests.support.docker_engine import wait_until

pytestmark = pytest.mark.django_db

NOON = datetime(2100, 1, 1, 12, tzinfo=UTC)
SOON = timedelta(seconds=1)


@pytest.mark.parametrize("change", [NOON, NOON + timedelta(minutes=6)])
def test_a_cycle_is_requested_for_when_the_turn_of_a_deployment_begins_or_ends(
    acme: Organization,
    bring: Bring,
    submit: Submit,
    change: datetime,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    bring(Status.RUNNING, cpu_milli=7000)
    waiting = submit(cpu_milli=2000)
    queued = NOON - timedelta(minutes=20)
    Deployment.objects.filter(pk=waiting.pk).update(queued_at=queued)

    with django_capture_on_commit_callbacks(execute=True):
        run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE, clock=lambda: change - SOON)
    assert not is_requested(acme)

    wait_until(lambda: is_requested(acme), "a cycle is requested")


def is_requested(organization: Organization) -> bool:
    return cache.get(f"wakeup:{RUN_CYCLE}:{organization.pk}") is not None
