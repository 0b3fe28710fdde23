"""How much each user had over time."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import User
from deployments.choices import Status
from deployments.runtime.models import Run
from deployments.usage.over_time import read
from orgs.models import Organization
from tests.fixtures.deployments import Bring

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ran(bring: Bring) -> None:
    """Bob's two GPUs from half past nine to half past eleven, and alice's core since ten."""
    bobs = bring(Status.RUNNING, gpu=2, cpu_milli=500)
    Run.objects.filter(deployment=bobs).update(
        placed_at=NOON - 2.5 * HOUR, released_at=NOON - 0.5 * HOUR, outcome="evicted"
    )
    alices = bring(Status.RUNNING, created_by=User.objects.get(username="alice"))
    Run.objects.filter(deployment=alices).update(placed_at=NOON - 2 * HOUR)


@pytest.mark.usefixtures("ran")
def test_runs_count_in_the_steps_in_which_they_were_placed(acme: Organization) -> None:
    usage = read(acme, end=NOON, span=4 * HOUR, steps=4)
    assert usage.times == [NOON - n * HOUR for n in (3, 2, 1, 0)]
    bob, alice = usage.people
    assert (bob.username, bob.gpus, bob.gpu_hours) == ("bob", [0, 1, 2, 1], 4)
    assert bob.core_hours == 1
    assert (alice.username, alice.cores, alice.core_hours) == ("alice", [0, 0, 1, 1], 2)


@pytest.mark.usefixtures("ran")
def test_what_was_outside_the_span_does_not_count(acme: Organization) -> None:
    usage = read(acme, end=NOON - HOUR, span=HOUR, steps=2)
    assert [person.gpus for person in usage.people] == [[2, 2], [0, 0]]
    assert read(acme, end=NOON - 3 * HOUR, span=HOUR, steps=2).people == []


@pytest.mark.usefixtures("ran")
def test_other_organizations_do_not_count(globex: Organization) -> None:
    assert read(globex, end=NOON, span=4 * HOUR, steps=4).people == []


@pytest.mark.usefixtures("ran")
def test_deleted_users_are_counted_together(acme: Organization, bob: User) -> None:
    bob.delete()
    first = read(acme, end=NOON, span=4 * HOUR, steps=4).people[0]
    assert (first.username, first.gpu_hours) == (None, 4)
