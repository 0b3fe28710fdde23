"""GET /events and /events/stream: what is returned, from where, and to whom."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from accounts.models import User
from deployments.choices import Status
from deployments.lifecycle import VERBS
from deployments.models import Deployment
from hypervisor.base.errors import Gone
from orgs.events import record
from orgs.feed import reading
from orgs.feed.following import Following
from orgs.feed.kinds import KINDS, OF_CLUSTERS, OF_DEPLOYMENTS, OF_ORGANIZATIONS
from orgs.feed.numbering import forget, number_events
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(bob: User, acme: Organization, client_for: ClientFor) -> APIClient:
    return client_for(bob)


def write(organization: Organization, *kinds: str) -> None:
    for kind in kinds:
        record(organization, kind, "alice", f"It was {kind}.")


def numbers(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [event["number"] for event in answer.json()["events"]]


def test_an_event_is_as_in_the_history_of_its_deployment(api: APIClient, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)

    events = api.get(f"/events?after=0&deployment={deployment.pk}").json()["events"]

    history = api.get(f"/deployments/{deployment.pk}/events").json()["results"]
    own = {"organization": deployment.organization_id, "subject": "deployment",
           "subject_id": deployment.pk}  # fmt: skip
    assert [event | {"number": 0} for event in events] == [
        {"number": 0, **own, **event} for event in history
    ]
    assert [event["kind"] for event in events] == ["submitted", "placed", "running"]


def test_a_caller_continues_after_the_last_number(api: APIClient, acme: Organization) -> None:
    write(acme, "created", "renamed")
    first = api.get("/events?after=0")
    write(acme, "renamed")

    assert numbers(first) == [1, 2]
    assert numbers(api.get(f"/events?after={first.json()['after']}")) == [3]


def test_without_a_number_only_what_happens_from_now_on_is_returned(
    api: APIClient, acme: Organization
) -> None:
    write(acme, "created", "renamed")

    assert api.get("/events").json() == {"events": [], "after": 2}


def test_filters_leave_events_out_and_the_position_advances(
    api: APIClient, acme: Organization, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)  # on a cluster, whose creation is the first event
    write(acme, "renamed", "renamed", "invite_regenerated")

    by_kind = api.get("/events?after=0&kinds=renamed,member_joined")
    by_deployment = api.get(f"/events?after=0&deployment={deployment.pk}")

    assert (numbers(by_deployment), by_deployment.json()["after"]) == ([2, 3, 4], 7)
    assert (numbers(by_kind), by_kind.json()["after"]) == ([5, 6], 7)


def test_rare_events_are_found_page_by_page(
    api: APIClient, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WINDOW", 2)
    monkeypatch.setattr(reading, "_WINDOWS", 2)
    write(acme, *["renamed"] * 9, "created")

    pages = [api.get("/events?after=0&kinds=created").json()]
    while not pages[-1]["events"]:
        after = pages[-1]["after"]
        pages.append(api.get(f"/events?after={after}&kinds=created").json())

    assert [page["after"] for page in pages] == [4, 8, 10]
    assert pages[-1]["events"][0]["number"] == 10


def test_a_stranger_and_a_former_member_see_nothing(
    api: APIClient, acme: Organization, bob: User, charlie: User, client_for: ClientFor
) -> None:
    write(acme, "created")
    path = f"/events?after=0&organization={acme.pk}"

    assert refusal(client_for(charlie).get(path), 404)["attr"] == "organization"
    Membership.objects.filter(user=bob).delete()
    assert refusal(api.get(path), 404)["attr"] == "organization"


def test_a_member_of_several_organizations_names_one(
    api: APIClient, acme: Organization, bob: User
) -> None:
    other = Organization.objects.create(name="Other")
    Membership.objects.create(organization=other, user=bob, role=Role.VIEWER)
    write(other, "created")

    assert refusal(api.get("/events?after=0"), 400)["attr"] == "organization"
    assert numbers(api.get(f"/events?after=0&organization={other.pk}")) == [1]


def delete_events(organization: Organization, *kinds: str) -> None:
    number_events()
    rows = Event.objects.filter(organization=organization, kind__in=kinds)
    forget(rows.values_list("pk", flat=True))
    rows.delete()


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
def test_a_number_before_deleted_events_is_gone(
    api: APIClient, acme: Organization, path: str
) -> None:
    write(acme, "created", "renamed", "member_joined", "role_changed")
    delete_events(acme, "created", "member_joined")

    error = refusal(api.get(f"{path}?after=2"), 410)

    assert (error["code"], error["attr"]) == ("events_deleted", "after")
    assert "after=0" in error["detail"]
    assert "(4)" in error["detail"]
    assert numbers(api.get("/events?after=0")) == [4]
    assert numbers(api.get("/events?after=3")) == [4]


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
def test_a_number_that_was_never_assigned_is_gone(
    api: APIClient, acme: Organization, path: str
) -> None:
    write(acme, "created")

    error = refusal(api.get(f"{path}?after=7"), 410)

    assert (error["code"], error["attr"]) == ("events_unknown", "after")
    assert "after=1" in error["detail"]


def test_a_page_from_which_events_were_deleted_meanwhile_is_gone(
    api: APIClient, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(acme, "created", "renamed")
    items = reading._items

    def delete_first(*arguments: Any) -> Any:
        delete_events(acme, "created")
        return items(*arguments)

    monkeypatch.setattr(reading, "_items", delete_first)
    number_events()

    with pytest.raises(Gone):
        reading.read(acme.pk, 0)


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("after=-1", "after"),
        ("after=x", "after"),
        ("wait=61", "wait"),
        ("kinds=created,exploded", "kinds"),
        ("deployment=0", "deployment"),
        ("afer=1", "afer"),
    ],
)
def test_a_wrong_parameter_is_refused(api: APIClient, query: str, attr: str) -> None:
    assert refusal(api.get(f"/events?{query}"), 400)["attr"] == attr


def test_the_last_event_id_takes_the_place_of_the_number(
    api: APIClient, acme: Organization
) -> None:
    write(acme, "created", "renamed")

    answer: Any = api.get("/events/stream?after=0", headers={"Last-Event-ID": "1"})

    assert isinstance(answer, Following)
    assert answer.subscription.after == 1
    error = refusal(api.get("/events/stream", headers={"Last-Event-ID": "x"}), 400)
    assert error["attr"] == "Last-Event-ID"


def test_a_caller_waits_only_if_there_is_nothing_to_return(
    api: APIClient, acme: Organization
) -> None:
    write(acme, "created")

    assert numbers(api.get("/events?after=0&wait=30")) == [1]
    waiting: Any = api.get("/events?after=1&wait=30")
    assert isinstance(waiting, Following)
    assert waiting.subscription.wait_s == 30


def test_the_rights_of_a_follower_are_checked_again(
    api: APIClient, acme: Organization, bob: User
) -> None:
    answer: Any = api.get("/events/stream")
    assert answer.subscription.is_allowed()

    Membership.objects.filter(user=bob).delete()

    assert not answer.subscription.is_allowed()


def recorded_kinds() -> Iterator[str]:
    """Yield the kinds that the apps pass to `record` as they are."""
    for app in ("orgs", "clusters", "deployments", "scheduling"):
        for path in sorted(Path(settings.BASE_DIR, app).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "record":
                    kind = node.args[1] if len(node.args) > 1 else None
                    if isinstance(kind, ast.Constant):
                        yield str(kind.value)


def test_every_kind_in_the_code_is_listed() -> None:
    found = set(recorded_kinds())

    assert {"renamed", "held", "connected", "service_account_added"} <= found
    assert found <= set(KINDS)


def test_every_kind_that_the_life_of_a_deployment_records_is_listed(bring: Bring) -> None:
    assert {verb.kind for verb in VERBS} <= set(OF_DEPLOYMENTS)
    for status in Status:
        bring(status)
    lists = {"organization": OF_ORGANIZATIONS, "cluster": OF_CLUSTERS, "deployment": OF_DEPLOYMENTS}
    for event in Event.objects.all():
        assert event.kind in lists[event.subject]
    assert Deployment.objects.exists()
    assert len(KINDS) == len(set(KINDS))
