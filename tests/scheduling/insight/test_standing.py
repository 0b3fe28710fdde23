"""Where the deployments of a list stand: it is what `explain` says of each."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from deployments import services
from deployments.arrays.elements import ArraySpec
from deployments.bulk import Entry, submit_many
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.models import Deployment
from deployments.specs import Spec
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.insight.explain import explain
from scheduling.insight.standing import standings
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit


def rows() -> list[Deployment]:
    return list(Deployment.objects.order_by("-pk"))


def assert_they_agree() -> None:
    found = standings(rows(), timezone.now())
    pending = [row for row in rows() if row.status == Status.PENDING]
    assert set(found) == {row.pk for row in pending}
    for row in pending:
        why, standing = explain(row), found[row.pk]
        assert (standing.code, standing.position) == (why.code, why.position), row.name
        if standing.position:
            assert standing.length == why.queue_length
        if standing.code != "next_cycle":
            assert standing.reason == why.reason


def test_of_every_kind_of_wait_it_says_what_explain_says(
    acme: Organization, bob: User, bring: Bring, submit: Submit
) -> None:
    running = bring(Status.RUNNING, name="running", cpu_milli=5000, priority=90)
    bring(Status.FAILED, name="failed")
    submit(name="large", cpu_milli=8000, priority=40)
    submit(name="next", cpu_milli=1000, priority=80)
    services.hold(submit(name="held"), actor="alice")
    submit(name="dependent", depends_on=(Wait(running.pk),))
    spec = Spec(name="sweep", image="busybox", cpu_milli=1000, ram_mib=1024)
    submit_many(created_by=bob, entries=[Entry(acme, spec, array=ArraySpec(3, 1))])

    assert_they_agree()

    codes = {standing.code for standing in standings(rows(), timezone.now()).values()}
    assert codes >= {"next_cycle", "held", "dependency", "array_limit", "no_free_capacity"}


def test_after_a_cycle_as_well(acme: Organization, forge: Cluster, submit: Submit) -> None:
    for number in range(12):
        submit(name=f"job-{number}", cpu_milli=1000 * (1 + number % 4), priority=10 + number)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)

    assert_they_agree()


@pytest.mark.parametrize("status", [Status.RUNNING, Status.FAILED])
def test_what_is_not_pending_needs_no_plan(bring: Bring, status: Status) -> None:
    bring(status)
    listed = rows()

    with CaptureQueriesContext(connection) as queries:
        assert standings(listed, timezone.now()) == {}

    assert len(queries) == 0
