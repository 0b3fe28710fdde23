"""An action on all deployments of a list, which are too many for a preview."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import User
from clusters.models import Cluster
from deployments import selection
from deployments.choices import Status
from deployments.models import Deployment
from hypervisor.console import bases
from hypervisor.console.pages import preview
from orgs.models import Event
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db

LIST = "/admin/deployments/deployment/"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two deployments be too many for a preview, and three for a transaction."""
    for module in (bases, preview):
        monkeypatch.setattr(module, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(selection, "MAX_CHANGED", 2)


def chosen(console: Client, action: str, query: str = "") -> Any:
    """Choose all deployments of the list, and the action."""
    first = Deployment.objects.values_list("pk", flat=True)[0]
    data = {"action": action, "select_across": "1", "_selected_action": [first]}
    return console.post(f"{LIST}{query}", data)


def messages(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_all_that_the_filters_show_are_cancelled_with_the_note(
    console: Client, submit: Submit, bring: Bring
) -> None:
    made = [submit(name="sweep", priority=10) for _ in range(5)]
    other, running = submit(name="serve"), bring(Status.RUNNING, name="sweep")

    page = chosen(console, "cancel", "?q=sweep&p=1")
    assert page.url == "/admin/many/cancel/?q=sweep"
    shown = console.get(page.url).content.decode()
    assert "The list has 6 deployments. 5 of them are pending and would be changed" in shown
    answer = console.post(page.url, {"note": "by mistake"})

    assert answer["Location"] == f"{LIST}?q=sweep"
    assert messages(answer) == ["5 deployments: cancelled."]
    ended = Deployment.objects.filter(status=Status.CANCELLED)
    assert list(ended.order_by("pk")) == made
    assert {row.status for row in Deployment.objects.filter(pk__in=[other.pk, running.pk])} == {
        Status.PENDING, Status.RUNNING,
    }  # fmt: skip
    events = Event.objects.filter(kind="cancelled", actor="olga")
    assert [event.data["note"] for event in events] == ["by mistake"] * 5
    trail = console.get("/admin/accounts/auditentry/").content.decode()
    assert "by mistake" in trail


def test_a_list_that_is_not_counted_offers_all_of_it_without_a_number(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    submit()

    page = console.get(LIST).content.decode()

    assert "Select all deployments of the list" in page
    assert "All deployments of the list are selected" in page
    assert "9999999999" not in page


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("hold", Status.PENDING, {"held": True}),
        ("stop", Status.RUNNING, {"status": Status.STOPPING}),
        ("start", Status.FAILED, {"status": Status.PENDING}),
        ("reprioritize", Status.PENDING, {"priority": 77}),
    ],
)
def test_each_action_of_a_list_reaches_all_of_it(
    console: Client, bring: Bring, action: str, before: Status, after: dict[str, Any],
    settings: Any,
) -> None:  # fmt: skip
    for _ in range(3):
        bring(before, cpu_milli=10, ram_mib=1)
    settings.MAX_PENDING_PER_USER = 1

    console.post(chosen(console, action).url, {"priority": 77, "note": ""})

    assert Deployment.objects.filter(**after).count() == 3


def test_what_is_not_reached_in_time_is_left_for_the_next_confirmation(
    console: Client, submit: Submit, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        submit()
    page = chosen(console, "cancel")
    times = iter([0.0, 1.0, 21.0])
    monkeypatch.setattr(selection, "monotonic", lambda: next(times))

    answer = console.post(page.url)

    assert answer["Location"] == page.url
    assert messages(answer) == [
        "2 deployments: cancelled.", "3 are left: confirm again to go on.",
    ]  # fmt: skip
    assert Deployment.objects.pending().count() == 3


def test_a_wrong_priority_and_a_note_that_is_too_long_change_nothing(
    console: Client, submit: Submit, forge: Cluster
) -> None:
    submit(), submit()
    page = chosen(console, "reprioritize")

    answer = console.post(page.url, {"priority": 101, "note": "x" * 501}).content.decode()

    assert "less than or equal to 100" in answer
    assert "at most 500" in answer
    assert {row.priority for row in Deployment.objects.all()} == {50}


def test_actions_with_a_preview_alone_are_refused_for_so_many(
    console: Client, bring: Bring
) -> None:
    bring(Status.RUNNING), bring(Status.RUNNING)

    answer = console.get(chosen(console, "preempt").url)

    assert messages(answer) == ["Choose at most 1 at once: there are more."]
    assert console.get(reverse("many", args=["preempt"])).status_code == 404


def test_an_unknown_filter_leads_back_to_the_list(console: Client) -> None:
    assert console.get("/admin/many/cancel/?colour=red")["Location"].startswith(LIST)


def test_an_operator_without_the_permission_is_refused(
    client: Client, submit: Submit, forge: Cluster
) -> None:
    submit()
    viewer = User.objects.create(username="victor", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_deployment"))
    client.force_login(viewer)

    assert client.post("/admin/many/cancel/")["Location"].startswith("/admin/login/")
    assert Deployment.objects.pending().count() == 1
