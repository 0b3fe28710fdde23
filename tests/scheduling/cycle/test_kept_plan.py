"""A process plans again only when something has changed."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import transaction

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.bulk import Entry
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.cycle import next_plan as next_plan_module
from scheduling.cycle import working_copy
from scheduling.cycle.kept import Kept
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.insight.dry_run import dry_run
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)


class Planner:
    """The planner, which counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, snapshot: Snapshot, backlog: Backlog) -> Plan:
        self.calls += 1
        return make_plan(snapshot, backlog)


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> Planner:
    counting = Planner()
    monkeypatch.setattr(next_plan_module, "make_plan", counting)
    monkeypatch.setattr(next_plan_module, "_kept", Kept(16))
    return counting


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def waiting(
    clock: time_machine.Traveller, acme: Organization, forge: Cluster, submit: Submit
) -> Deployment:
    """A deployment that waits for another one to end, after all cycles that it takes."""
    submit(cpu_milli=8000)
    last = submit(cpu_milli=8000)
    for _ in range(2):
        run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    return last


def plan(organization: Organization) -> Plan:
    return next_plan(load(organization.pk, lock=False))


def test_the_plan_is_used_again_while_nothing_changes(
    acme: Organization, waiting: Deployment, planner: Planner, clock: time_machine.Traveller
) -> None:
    first = plan(acme)
    clock.shift(60)

    assert plan(acme) is first
    assert run_cycle(acme.pk, SchedulingCycle.Trigger.INTERVAL) is not None
    assert planner.calls == 1


def test_a_change_of_a_deployment_needs_another_plan(
    acme: Organization, waiting: Deployment, planner: Planner
) -> None:
    plan(acme)
    services.adjust(waiting, actor="olga", priority=70)

    assert [e.for_ for e in plan(acme).evictions] == [waiting.pk]
    assert planner.calls == 2


def test_a_change_of_a_cluster_needs_another_plan(
    acme: Organization, waiting: Deployment, planner: Planner
) -> None:
    plan(acme)
    Cluster.objects.filter(organization=acme).update(state=Cluster.State.CORDONED)
    plan(acme)

    assert planner.calls == 2


def test_a_deployment_that_becomes_starved_needs_another_plan(
    acme: Organization, waiting: Deployment, planner: Planner, clock: time_machine.Traveller
) -> None:
    plan(acme)
    clock.shift(901)
    plan(acme)

    assert planner.calls == 2


def test_the_end_of_a_back_off_needs_another_plan(
    acme: Organization, waiting: Deployment, planner: Planner, clock: time_machine.Traveller
) -> None:
    Deployment.objects.filter(pk=waiting.pk).update(ready_after="2030-01-01T12:01:30Z")
    assert list(plan(acme).served) == []
    clock.shift(61)

    assert list(plan(acme).served) == [waiting.pk]


def test_a_plan_of_what_is_rolled_back_is_not_kept(
    acme: Organization, waiting: Deployment, planner: Planner
) -> None:
    first = plan(acme)
    with transaction.atomic():
        services.adjust(waiting, actor="olga", priority=70)
        assert plan(acme).evictions
        transaction.set_rollback(True)

    assert plan(acme) is first


def test_a_dry_run_leaves_a_copy_for_the_next_one(
    acme: Organization, alice: User, waiting: Deployment
) -> None:
    working_copy.forget_all()
    spec = Spec(name="probe", image="busybox", cpu_milli=1000, ram_mib=1024)

    dry_run(created_by=alice, entry=Entry(acme, spec))

    assert working_copy.has([acme.pk])
