"""The page of one deployment."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from deployments import lifecycle, services
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, Submit


def address(deployment: Deployment) -> str:
    return reverse("admin:deployments_deployment_change", args=[deployment.pk])


def look(console: Client, deployment: Deployment, **query: Any) -> tuple[str, Any]:
    """Return the page as text with single spaces, and its context."""
    response = console.get(address(deployment), query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split()), response.context


def names(console: Client, deployment: Deployment) -> list[str]:
    """Return the actions that are offered."""
    page = console.get(address(deployment)).content.decode()
    return re.findall(r'href="/admin/preview/(\w+)/\?id=', page)


def test_a_pending_deployment_shows_its_wait_reason_and_what_each_cluster_is_missing(
    console: Client, acme: Organization, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    bring(Status.RUNNING, cpu_milli=7000, priority=90)
    waiting = submit(cpu_milli=3000, priority=20)

    page, context = look(console, waiting)

    assert context["why"].position == 1
    assert "Needs 3 CPU, 1 GiB RAM at priority 20" in page
    (row,) = context["shortages"]
    assert (row.name, row.missing) == ("forge", "2 CPU")
    assert row.why.startswith("1 CPU, 15 GiB RAM, 2 GPU free for this deployment")
    assert f'href="{reverse("cluster", args=[forge.pk])}">forge</a>' in page


def test_an_evicted_deployment_links_to_its_preemptor(
    console: Client, acme: Organization, bring: Bring, submit: Submit, forge: Cluster
) -> None:
    victim = bring(Status.RUNNING, cpu_milli=8000, priority=10)
    urgent = submit(name="urgent", cpu_milli=8000, priority=90)
    run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    victim.refresh_from_db()

    page, context = look(console, victim)

    (attempt,) = context["attempts"]
    assert (attempt.run.outcome, attempt.run.preempted_by) == ("evicted", urgent)
    assert f"for deployment {urgent.pk} of priority 90" in attempt.why
    assert f'For <a href="{address(urgent)}">urgent</a>' in page
    assert "Proved minimal." in page
    assert context["since"] == attempt.run.released_at > victim.queued_at


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        (Status.PENDING, ["hold", "reprioritize", "move", "cancel"]),
        (Status.RUNNING, ["preempt", "requeue", "move", "reprioritize", "stop"]),
        (Status.STOPPING, []),
        (Status.COMPLETED, ["start"]),
        (Status.FAILED, ["start"]),
    ],
)
def test_the_actions_that_apply_are_offered(
    console: Client, bring: Bring, status: Status, offered: list[str]
) -> None:
    assert names(console, bring(status)) == offered


def test_a_deployment_on_hold_can_be_released(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    deployment = submit()
    services.hold(deployment, actor="olga")

    page, context = look(console, deployment)

    assert context["state"] == "held"
    assert "Held by olga: waits until it is released." in page
    assert names(console, deployment) == ["release", "reprioritize", "move", "cancel"]


def test_a_viewer_sees_everything_and_is_offered_no_action(bring: Bring) -> None:
    viewer = User.objects.create(username="vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewers"))
    client = Client()
    client.force_login(viewer, "django.contrib.auth.backends.ModelBackend")
    deployment = bring(Status.RUNNING)

    page, _ = look(client, deployment)

    assert "as the test wants it" in page
    assert names(client, deployment) == []
    assert "?edit" not in page
    assert "Delete…" not in page


def test_dependencies_are_shown_both_ways(console: Client, submit: Submit, forge: Cluster) -> None:
    first = submit(name="prepare")
    second = submit(name="train", depends_on=(Wait(first.pk),), on_dependency_failure="cancel")

    page, _ = look(console, second)
    assert f'href="{address(first)}">prepare</a> <span class="c-note">to be completed' in page
    assert "If one cannot, this deployment is cancelled." in page

    page, _ = look(console, first)
    assert (
        f'href="{address(second)}">train</a> <span class="c-note">waits for this one to be' in page
    )


def test_the_names_of_variables_are_shown_but_no_values(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    page, _ = look(console, submit(env={"TOKEN": "very-secret"}, command=["sh", "-c", "a b"]))

    assert "TOKEN" in page
    assert "very-secret" not in page
    assert "sh -c &#x27;a b&#x27;" in page


def test_the_gpus_of_a_run_are_named(console: Client, bring: Bring) -> None:
    deployment = bring(Status.RUNNING, gpu=2)
    deployment.runs.update(devices=["GPU-a1", "GPU-b2"])

    assert "GPU GPU-a1, GPU-b2" in look(console, deployment)[0]


def again(deployment: Deployment, forge: Cluster, times: int) -> None:
    """Requeue and place it this many times."""
    for second in range(times):
        for verb in (lifecycle.REQUEUE, lifecycle.PLACE):
            change = Change(deployment.pk, "again", cluster=forge.pk)
            now = timezone.now() + timedelta(seconds=second)
            transition(verb, [change], actor="system:test", now=now)


def test_a_long_history_is_paginated(console: Client, bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.STARTING)
    again(deployment, forge, 60)

    page, context = look(console, deployment, events=2)

    assert len(context["attempts"]) == 50
    assert "The latest 50 of" in page
    assert "61 runs" in page
    assert context["events"].number == 2
    assert "51 to 100 of 122" in page


@pytest.mark.parametrize("status", [Status.PENDING, Status.STARTING])
def test_it_takes_the_same_number_of_queries_for_any_history(
    console: Client, bring: Bring, submit: Submit, forge: Cluster, status: Status
) -> None:
    deployment = bring(Status.STARTING)
    counts = []
    for times in (1, 10):
        again(deployment, forge, times)
        for _ in range(times):
            submit(depends_on=(Wait(deployment.pk),))
        if status == Status.PENDING:
            services.requeue(deployment, actor="olga")
        console.get(address(deployment))
        with CaptureQueriesContext(connection) as queries:
            look(console, deployment)
        counts.append(len(queries))
        if status == Status.PENDING:
            change = Change(deployment.pk, "again", cluster=forge.pk)
            transition(lifecycle.PLACE, [change], actor="system:test", now=timezone.now())

    assert counts[0] == counts[1]
    assert counts[0] <= 25


def test_only_the_live_part_is_fetched_again(console: Client, bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.RUNNING)

    part = console.get(address(deployment), headers={"X-Fragment": "live"}).content.decode()

    assert "<html" not in part
    assert "Specification" in part


def test_a_deleted_deployment_redirects_to_the_list(console: Client, db: None) -> None:
    response = console.get("/admin/deployments/deployment/404/change/", follow=True)

    assert "doesn’t exist" in response.content.decode()  # noqa: RUF001


def test_the_form_is_one_click_away(console: Client, bring: Bring) -> None:
    response = console.get(address(bring(Status.RUNNING)), {"edit": ""})

    assert set(response.context["adminform"].form.fields) == {"name", "preemptible"}
