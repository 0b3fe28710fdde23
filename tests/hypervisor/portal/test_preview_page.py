"""The members' page between an action and its confirmation."""

from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.portal.rights import MEMBERS_ACTIONS
from orgs.models import Role
from tests.fixtures.deployments import Bring, MemberAs, Submit
from tests.hypervisor.portal.conftest import Browse


def address(deployment: Deployment, action: str, query: str = "") -> str:
    return reverse("portal:preview", args=[deployment.pk, action]) + query


def confirm(browser: Any, page: str) -> Any:
    """Confirm what the page shows."""
    shown = browser.get(page).context["preview"].fingerprint
    return browser.post(page, {"shown": shown})


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_a_higher_priority_shows_whom_it_evicts_before_it_is_confirmed(
    browse: Browse, bob: User, alice: User, bring: Bring, submit: Submit
) -> None:
    bring(Status.RUNNING, name="hers", cpu_milli=8000, priority=40, created_by=alice)
    mine = submit(cpu_milli=8000, priority=20)
    browser, page = browse(bob), address(mine, "reprioritize", "?priority=90")

    shown = browser.get(page).content.decode()
    mine.refresh_from_db()
    before = mine.priority
    response = confirm(browser, page)

    mine.refresh_from_db()
    assert "Would be evicted" in shown
    assert ">hers</a>" in shown
    assert (before, mine.priority) == (20, 90)
    assert response["Location"] == reverse("portal:deployment", args=[mine.pk])
    assert told(response) == ["job: given another priority."]


def test_nothing_is_done_if_the_consequences_have_changed(
    browse: Browse, bob: User, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)

    response = browse(bob).post(address(deployment, "stop"), {"shown": "something else"})

    deployment.refresh_from_db()
    assert deployment.status == Status.RUNNING
    assert "the situation has changed" in response.content.decode()


def test_a_wrong_priority_is_reported_beside_its_field(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    page = address(submit(), "reprioritize", "?priority=101")

    response = browse(bob).get(page)

    assert list(response.context["form"].errors) == ["priority"]


@pytest.mark.parametrize("action", MEMBERS_ACTIONS)
def test_a_stranger_finds_no_action_and_a_viewer_may_take_none(
    browse: Browse,
    charlie: User,
    member_as: MemberAs,
    submit: Submit,
    forge: Cluster,
    action: str,
) -> None:
    page = address(submit(), action)
    viewer = browse(member_as(Role.VIEWER))

    assert browse(charlie).get(page).status_code == 404
    assert viewer.get(page).status_code == 403
    assert viewer.post(page, {"shown": "x"}).status_code == 403


def test_a_developer_may_not_hold_the_own_deployment(
    browse: Browse, bob: User, submit: Submit, forge: Cluster
) -> None:
    response = browse(bob).get(address(submit(), "hold"))

    assert response.status_code == 403
    assert "needs the role admin or higher" in response.content.decode()


@pytest.mark.parametrize("action", ["preempt", "requeue", "move", "cordon", "nonsense"])
def test_operators_actions_are_not_offered(
    browse: Browse, alice: User, bring: Bring, action: str
) -> None:
    assert browse(alice).get(address(bring(Status.RUNNING), action)).status_code == 404


def test_a_deleted_deployment_leads_back_to_the_list(
    browse: Browse, bob: User, bring: Bring
) -> None:
    deployment = bring(Status.FAILED)

    response = confirm(browse(bob), address(deployment, "delete"))

    assert not Deployment.objects.filter(pk=deployment.pk).exists()
    assert response["Location"] == "/"
    assert told(response) == ["job: deleted."]


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        (Status.PENDING, "cancel", Status.CANCELLED),
        (Status.RUNNING, "stop", Status.STOPPING),
        (Status.FAILED, "start", Status.PENDING),
    ],
)
def test_a_confirmed_action_is_carried_out_as_the_person(
    browse: Browse, bob: User, bring: Bring, before: Status, action: str, after: Status
) -> None:
    deployment = bring(before)

    confirm(browse(bob), address(deployment, action))

    deployment.refresh_from_db()
    assert deployment.status == after
