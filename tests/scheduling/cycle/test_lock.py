"""A cycle does not wait for another cycle of its organization, and not long for a locked row."""

import json
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from threading import Event
from time import monotonic

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection, connections

from accounts.models import User
from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.wakeups import RUN_CYCLE, flush
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.cycle import next_plan as next_plan_module
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot
from scheduling.tasks import run_requested_cycle
from tests.fixtures.deployments import Submit
from tests.support.cycles import run_due_cycles
from tests.support.docker_engine import wait_until
from tests.support.locks import held

pytestmark = pytest.mark.django_db(transaction=True)

CHANGE = SchedulingCycle.Trigger.CHANGE
_TIMEOUT_S = 10
_BOUND_S = 1.5
"""Much longer than a cycle waits for a row, much shorter than the row is locked here."""


@pytest.fixture(autouse=True)
def no_requests() -> None:
    cache.clear()


@pytest.fixture
def other(charlie: User) -> Deployment:
    """A ready deployment of another organization with its own cluster."""
    globex = Organization.objects.create(name="Globex")
    cluster_services.create(
        actor="charlie", organization=globex, name="hall", capacity=Capacity(8000, 16384, 2)
    )
    spec = Spec(name="other", image="busybox", cpu_milli=1000, ram_mib=1024)
    return services.submit(created_by=charlie, organization=globex, spec=spec)


def is_requested(organization: Organization) -> bool:
    flush()
    return cache.get(f"wakeup:{RUN_CYCLE}:{organization.pk}") is not None


@pytest.mark.parametrize("strength", ["NO KEY UPDATE", "UPDATE"])
def test_a_locked_cluster_ends_the_cycle_soon_and_requests_another(
    acme: Organization, forge: Cluster, submit: Submit, strength: str
) -> None:
    submit()
    flush()
    cache.clear()

    with held("clusters_cluster", forge.pk, strength):
        began = monotonic()
        run_requested_cycle(acme.pk)
        took = monotonic() - began

    assert took < _BOUND_S
    assert not SchedulingCycle.objects.exists()
    wait_until(lambda: is_requested(acme), "another cycle is requested")


def test_a_locked_organization_or_deployment_ends_the_cycle_soon(
    acme: Organization, forge: Cluster, submit: Submit
) -> None:
    deployment = submit()

    for table, pk in (("orgs_organization", acme.pk), ("deployments_deployment", deployment.pk)):
        with held(table, pk, "UPDATE"):
            began = monotonic()
            assert run_cycle(acme.pk, CHANGE) is None
            assert monotonic() - began < _BOUND_S

    assert run_cycle(acme.pk, CHANGE)


def test_the_command_continues_with_the_other_organizations(
    acme: Organization, forge: Cluster, submit: Submit, other: Deployment
) -> None:
    submit()
    out = StringIO()

    with held("clusters_cluster", forge.pk), pytest.raises(CommandError, match="No cycle for Acme"):
        call_command("schedule", "--json", stdout=out)

    locked, free = json.loads(out.getvalue())
    assert locked == {"organization": acme.pk, "name": "Acme", "cycle": None}
    assert (free["name"], free["placed"]) == ("Globex", 1)


def test_a_locked_cluster_delays_no_other_organization(
    acme: Organization, forge: Cluster, submit: Submit, other: Deployment
) -> None:
    submit()

    with held("clusters_cluster", forge.pk):
        began = monotonic()
        run_due_cycles()
        took = monotonic() - began

    other.refresh_from_db()
    assert (other.status, took < _BOUND_S) == (Status.STARTING, True)


def test_the_lock_timeout_is_restored_after_the_cycle(acme: Organization, forge: Cluster) -> None:
    def lock_timeout() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            return str(cursor.fetchone()[0])

    before = lock_timeout()
    run_cycle(acme.pk, CHANGE)

    assert lock_timeout() == before


def test_a_second_cycle_of_the_organization_ends_at_once_and_another_follows_the_first(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    flush()
    cache.clear()
    planning, resume = Event(), Event()

    def slow(snapshot: Snapshot, backlog: Backlog) -> Plan:
        planning.set()
        assert resume.wait(_TIMEOUT_S)
        return make_plan(snapshot, backlog)

    def first() -> SchedulingCycle | None:
        try:
            return run_cycle(acme.pk, CHANGE)
        finally:
            connections.close_all()

    monkeypatch.setattr(next_plan_module, "make_plan", slow)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(first)
        assert planning.wait(_TIMEOUT_S)
        began = monotonic()
        second = run_cycle(acme.pk, CHANGE)
        took = monotonic() - began
        requested_before = is_requested(acme)
        resume.set()
        done = future.result(_TIMEOUT_S)

    assert (second, took < _BOUND_S, requested_before) == (None, True, False)
    assert done is not None
    assert done.placed == 1
    assert is_requested(acme)


def test_no_cycle_follows_if_none_was_requested_during_it(
    acme: Organization, forge: Cluster
) -> None:
    flush()
    cache.clear()

    assert run_cycle(acme.pk, CHANGE)

    assert not is_requested(acme)
