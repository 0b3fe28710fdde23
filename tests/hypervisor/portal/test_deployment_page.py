"""The members' page of one deployment, and of its logs."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster, SimulatedContainer
from deployments import services
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Organization, Role
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, MemberAs, Submit
from tests.hypervisor.portal.conftest import Browse


def look(browser: Client, deployment: Deployment, page: str = "deployment", **query: Any) -> Any:
    return browser.get(reverse(f"portal:{page}", args=[deployment.pk]), query)


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def labels(response: Any) -> list[str]:
    shown = (button.label for button in response.context["buttons"])
    return [label.removesuffix("\N{HORIZONTAL ELLIPSIS}") for label in shown]


def test_it_shows_why_a_deployment_waits_and_who_is_ahead(
    browse: Browse, bob: User, alice: User, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, cpu_milli=7000, priority=90)
    ahead = submit(name="ahead", cpu_milli=3000, priority=80, created_by=alice)
    waiting = submit(cpu_milli=3000, priority=20)

    page = text(look(browse(bob), waiting))

    assert "<strong>2</strong> of 2 in the queue" in page
    assert f'Ahead of it: <a href="/my/deployments/{ahead.pk}/">ahead</a>' in page
    assert "(priority 80)" in page
    assert "What is missing on each cluster" in page
    assert "2 CPU" in page


def test_an_evicted_deployment_names_its_preemptor_and_who_submitted_it(
    browse: Browse, bob: User, alice: User, acme: Organization, bring: Bring, submit: Submit
) -> None:
    victim = bring(Status.RUNNING, cpu_milli=8000, priority=20)
    submit(name="urgent", cpu_milli=8000, priority=90, created_by=alice)
    run_cycle(acme.pk, trigger=SchedulingCycle.Trigger.MANUAL)

    page = text(look(browse(bob), victim))

    assert re.search(
        r'Evicted (just now|\d+ s ago) from forge for <a href="/my/deployments/\d+/">urgent</a>',
        page,
    )
    assert "priority 90, submitted by alice" in page


@pytest.mark.parametrize("page", ["deployment", "logs", "log_file"])
def test_a_stranger_finds_nothing(
    browse: Browse, charlie: User, submit: Submit, forge: Cluster, page: str
) -> None:
    assert look(browse(charlie), submit(), page).status_code == 404


@pytest.mark.parametrize(
    ("role", "own", "expected"),
    [
        (Role.VIEWER, False, set()),
        (Role.DEVELOPER, False, set()),
        (Role.DEVELOPER, True, {"Change priority", "Cancel", "Delete", "Change"}),
        (Role.ADMIN, False, {"Hold", "Change priority", "Cancel", "Delete", "Change"}),
    ],
)
def test_the_role_decides_which_actions_are_offered(
    browse: Browse,
    member_as: MemberAs,
    submit: Submit,
    forge: Cluster,
    role: Role,
    own: bool,
    expected: set[str],
) -> None:
    member = member_as(role)
    deployment = submit(created_by=member) if own else submit()

    offered = labels(look(browse(member), deployment))

    assert set(offered) == expected | {"Logs", "Submit another like this"}


def test_the_state_decides_which_actions_are_offered(
    browse: Browse, alice: User, bring: Bring
) -> None:
    browser = browse(alice)

    def offered(status: Status) -> set[str]:
        return set(labels(look(browser, bring(status)))) - {"Logs", "Submit another like this"}

    assert offered(Status.RUNNING) == {"Change priority", "Stop", "Change"}
    assert offered(Status.FAILED) == {"Start again", "Delete"}
    assert offered(Status.STOPPING) == {"Change"}


def test_it_refreshes_only_its_live_part(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    address = reverse("portal:deployment", args=[submit().pk])

    part = browse(bob).get(address, headers={"X-Fragment": "live"}).content.decode()

    assert "<html" not in part
    assert "Timeline" in part


def test_the_logs_are_shown_and_can_be_downloaded(browse: Browse, bob: User, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    deployment.runs.update(launched_at=timezone.now())
    run = deployment.runs.get()
    SimulatedContainer.objects.create(
        cluster=Cluster.objects.get(),
        run_id=run.pk,
        started_at=timezone.now(),
        output="epoch 1\nepoch <2>\n",
    )
    browser = browse(bob)

    shown = look(browser, deployment, "logs")
    file = look(browser, deployment, "log_file", run=run.pk)

    assert "epoch &lt;2&gt;" in shown.content.decode()
    assert shown.context["refresh_s"] == 3
    assert file.content == b"epoch 1\nepoch <2>\n"
    assert file["Content-Disposition"].startswith("attachment")


def test_missing_logs_are_explained(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    deployment = submit()
    waits = text(look(browse(bob), deployment, "logs"))
    services.cancel(deployment, actor="bob")
    ended = text(look(browse(bob), deployment, "logs"))

    assert "No output yet. It appears here once a run has started." in waits
    assert "has no output, because it has never been started: start it" in ended
