"""The page of one cycle: its snapshot, its decisions with reasons, and its replay."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.recording import pack, unpack
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster as Supply
from scheduling.planner.snapshot import Deployment as Demand
from scheduling.planner.snapshot import Snapshot
from tests.fixtures.deployments import Submit


@pytest.fixture
def preempting(acme: Organization, forge: Cluster, submit: Submit) -> SchedulingCycle:
    """A cycle with a preemptor, its victim, and a deployment that keeps waiting."""
    submit(name="low", cpu_milli=8000, priority=10)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    submit(name="high", cpu_milli=8000, priority=20)
    submit(name="third", cpu_milli=5000, priority=5)
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert (cycle.evicted, cycle.placed) == (1, 1)
    return cycle


def look(console: Client, cycle: SchedulingCycle, **query: Any) -> tuple[str, Any]:
    """Return the page as text with single spaces, and its context."""
    address = reverse("admin:scheduling_schedulingcycle_change", args=[cycle.pk])
    response = console.get(address, query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split()), response.context


def settings(cycle: SchedulingCycle, **other: object) -> dict[str, object]:
    """Return the query of a replay with the cycle's settings, with these changed."""
    snapshot, _ = unpack(bytes(cycle.record or b""))
    return {"replay": "1", **asdict(snapshot.policy), **other}


def test_it_shows_victims_preemptors_and_the_proof_of_minimality(
    console: Client, preempting: SchedulingCycle
) -> None:
    page, context = look(console, preempting)

    (row,) = context["rows"]
    high = Deployment.objects.get(name="high")
    assert (row.name, row.for_name, row.proved_minimal) == ("low", "high", True)
    assert f"for deployment {high.pk} of priority 20" in row.reason
    assert context["kinds"] == [("evicted", 1), ("moved", 0), ("placed", 1), ("waits", 1)]
    assert "from forge" in page


def test_it_shows_the_wait_reasons_of_the_others(
    console: Client, preempting: SchedulingCycle
) -> None:
    page, context = look(console, preempting, kind="waits")

    (row,) = context["rows"]
    assert (row.name, row.decision.code) == ("third", "no_free_capacity")
    assert "is short of 5 CPU" in row.reason
    assert "no free capacity" in page


def test_it_shows_what_was_allocated_before_and_after(
    console: Client, preempting: SchedulingCycle
) -> None:
    _, context = look(console, preempting)

    (row,) = context["clusters"]
    assert row.deployments == (1, 1)
    assert [use.texts for use in row.uses] == [
        ("8", "8", "8"), ("1 GiB", "1 GiB", "16 GiB"), ("0", "0", "2"),
    ]  # fmt: skip


def test_a_replay_with_the_recorded_settings_gives_the_same_plan(
    console: Client, preempting: SchedulingCycle
) -> None:
    page, context = look(console, preempting, **settings(preempting))

    assert context["replay"].differences == []
    assert "The same plan" in page


def test_a_replay_with_other_settings_shows_the_different_decisions(
    console: Client, preempting: SchedulingCycle
) -> None:
    page, context = look(console, preempting, **settings(preempting, min_run_seconds=3600))

    changes = {row.name: (row.was.kind, row.now.kind) for row in context["replay"].shown}
    assert changes == {"low": ("evicted", "stays"), "high": ("placed", "waits")}
    assert ("evicted", 1, 0) in context["replay"].counts
    assert "The decision differs for" in page
    assert not Deployment.objects.filter(name="low", status="running").exists()


def test_a_plan_that_differs_from_the_applied_one_is_an_error(
    console: Client, preempting: SchedulingCycle
) -> None:
    snapshot, _ = unpack(bytes(preempting.record or b""))
    other_plan = make_plan(replace(snapshot, policy=Policy(min_run_seconds=9999)))
    SchedulingCycle.objects.filter(pk=preempting.pk).update(record=pack(snapshot, other_plan))

    page, _ = look(console, preempting, **settings(preempting))

    assert "Not the plan that was applied" in page


def test_an_invalid_setting_is_named(console: Client, preempting: SchedulingCycle) -> None:
    page, context = look(console, preempting, **settings(preempting, min_run_seconds=-1))

    assert context["replay"] is None
    assert "greater than or equal to 0" in page


def test_a_cycle_that_changed_nothing_says_so(
    console: Client, acme: Organization, forge: Cluster
) -> None:
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.INTERVAL)
    assert cycle is not None

    page, _ = look(console, cycle)

    assert "It changed nothing" in page


def test_it_links_to_the_cycles_before_and_after(
    console: Client, acme: Organization, globex: Organization, preempting: SchedulingCycle
) -> None:
    run_cycle(globex.pk, SchedulingCycle.Trigger.MANUAL)
    after = run_cycle(acme.pk, SchedulingCycle.Trigger.MANUAL)
    assert after is not None

    _, context = look(console, preempting)

    assert context["neighbours"]["after"] == after.pk
    assert context["neighbours"]["before"] < preempting.pk


def recorded(organization: Organization, size: int) -> SchedulingCycle:
    """Return a cycle with this many decisions about deleted deployments."""
    snapshot = Snapshot(
        now=1_000_000,
        policy=Policy(),
        clusters=(Supply(1, Resources(1000 * size // 2, 1024 * size, 0), name="big"),),
        deployments=tuple(
            Demand(n, 50, Resources(1000, 1024, 0), 1_000_000) for n in range(1, size + 1)
        ),
    )
    plan = make_plan(snapshot)
    return SchedulingCycle.objects.create(
        organization=organization, trigger="change", started_at=timezone.now(), snapshot_us=1,
        plan_us=1, apply_us=1, ready=size, placed=len(plan.placements), evicted=0, moved=0,
        left_pending=len(plan.wait_reasons), record=pack(snapshot, plan),
    )  # fmt: skip


def test_a_large_cycle_is_paginated_and_takes_as_many_queries_as_a_small_one(
    console: Client, acme: Organization
) -> None:
    small, big = recorded(acme, 4), recorded(acme, 2000)
    counts = []
    for cycle in (small, big):
        look(console, cycle)
        with CaptureQueriesContext(connection) as queries:
            look(console, cycle)
        counts.append(len(queries))

    page, context = look(console, big, kind="waits", page=2)
    assert 'href="?kind=waits&amp;page=1#decisions"' in page

    # The query for the cycle before it runs even for an organization's first cycle.
    assert counts[0] == counts[1]
    assert len(context["rows"]) == 100
    assert "101 to 200 of 1,000" in page


def test_waiting_deployments_are_filtered_by_their_reason(
    console: Client, acme: Organization, forge: Cluster, submit: Submit
) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="vault", capacity=Capacity(99_000, 99_000, 0)
    )
    submit(name="fits")
    submit(name="much", cpu_milli=90_000)
    submit(name="more", cpu_milli=95_000)
    Cluster.objects.filter(name="vault").update(state="cordoned")
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None

    _, context = look(console, cycle, kind="waits", code="cluster_cordoned")

    assert context["codes"] == [("cluster_cordoned", 2)]
    assert {row.name for row in context["rows"]} == {"much", "more"}
