from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from orgs.models import Event, Membership, Organization, Role

pytestmark = pytest.mark.django_db

LIST = "/admin/orgs/organization/"


def members_form(organization: Organization, **changes: dict[str, Any]) -> dict[str, Any]:
    """Return the page's form with some members' rows changed; `new` is an additional row."""
    rows: list[dict[str, Any]] = [
        {"id": m.pk, "user": m.user_id, "role": m.role, **changes.get(m.user.username, {})}
        for m in organization.memberships.select_related("user")
    ]
    initial = len(rows)
    rows += [changes["new"]] if "new" in changes else []
    form: dict[str, Any] = {
        "name": organization.name,
        "memberships-TOTAL_FORMS": len(rows),
        "memberships-INITIAL_FORMS": initial,
    }
    for index, row in enumerate(rows):
        form |= {f"memberships-{index}-{name}": value for name, value in row.items()}
        form[f"memberships-{index}-organization"] = organization.pk
    return form


def page(organization: Organization) -> str:
    return reverse("admin:orgs_organization_change", args=[organization.pk])


def test_the_list_shows_the_owners_and_the_number_of_members(
    console: Client, acme: Organization, charlie: User
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=Role.OWNER)

    text = console.get(LIST).content.decode()

    assert "alice, charlie" in text
    row = console.get(LIST).context["cl"].result_list[0]
    assert row.members == 3


def test_the_list_takes_as_many_queries_for_ten_organizations_as_for_one(
    console: Client, acme: Organization, bob: User, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        other = Organization.objects.create(name=f"Other {number}")
        Membership.objects.create(organization=other, user=bob, role=Role.OWNER)

    with django_assert_max_num_queries(9):
        assert console.get(LIST).status_code == 200


def test_a_search_for_a_person_finds_the_person_s_organizations(
    console: Client, acme: Organization
) -> None:
    Organization.objects.create(name="Elsewhere")

    found = console.get(LIST, {"q": "bob"}).context["cl"].result_list

    assert list(found) == [acme]


def test_an_operator_creates_an_organization_for_another_user(
    console: Client, charlie: User
) -> None:
    console.post(f"{LIST}add/", {"name": "Initech", "owner": charlie.pk})

    membership = Membership.objects.get(user=charlie)
    assert (membership.organization.name, membership.role) == ("Initech", Role.OWNER)


def test_an_operator_s_changes_of_members_go_through_the_services(
    console: Client, acme: Organization, bob: User, charlie: User
) -> None:
    form = members_form(
        acme, bob={"role": "admin"}, new={"user": charlie.pk, "role": "viewer"}
    ) | {"name": "Acme Ltd"}  # fmt: skip

    response = console.post(page(acme), form)

    assert response.status_code == 302
    roles = dict(acme.memberships.values_list("user__username", "role"))
    assert roles == {"alice": "owner", "bob": "admin", "charlie": "viewer"}
    rows = Event.objects.filter(organization=acme).values_list("kind", "actor")
    assert set(rows) == {("renamed", "olga"), ("member_added", "olga"), ("role_changed", "olga")}


def test_an_operator_cannot_remove_the_last_owner(console: Client, acme: Organization) -> None:
    response = console.post(page(acme), members_form(acme, alice={"DELETE": "on"}))

    messages = [str(message) for message in get_messages(response.wsgi_request)]
    assert any("last owner" in message for message in messages)
    assert acme.memberships.filter(role=Role.OWNER).exists()


def test_an_operator_replaces_an_invite_code(console: Client, acme: Organization) -> None:
    before = acme.invite_code

    console.post(LIST, {"action": "regenerate_invite", "_selected_action": [acme.pk]})

    acme.refresh_from_db()
    assert acme.invite_code != before
    assert Event.objects.get(kind="invite_regenerated").actor == "olga"


def test_an_operator_deletes_an_organization_that_has_a_history(
    console: Client, acme: Organization
) -> None:
    console.post(LIST, {"action": "regenerate_invite", "_selected_action": [acme.pk]})

    console.post(reverse("admin:orgs_organization_delete", args=[acme.pk]), {"post": "yes"})

    assert not Organization.objects.exists()
    assert not Event.objects.exists()


def test_history_cannot_be_edited(console: Client, acme: Organization) -> None:
    console.post(LIST, {"action": "regenerate_invite", "_selected_action": [acme.pk]})
    event = Event.objects.get()
    url = reverse("admin:orgs_event_change", args=[event.pk])

    assert console.get(url).status_code == 200
    assert console.post(url, {"reason": "Nothing happened."}).status_code == 403
    delete = reverse("admin:orgs_event_delete", args=[event.pk])
    assert console.post(delete, {"post": "yes"}).status_code == 403


EVENTS = "/admin/orgs/event/"


@pytest.fixture
def events(acme: Organization) -> dict[str, Event]:
    """Events of two organizations, by kind."""
    globex = Organization.objects.create(name="Globex")
    rows = [
        Event(organization=acme, subject="deployment", subject_id=7, kind="evicted",
              actor="system:scheduler", reason="Preempted.", data={"for": 8}),
        Event(organization=acme, subject="cluster", subject_id=3, kind="draining", actor="olga",
              time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        Event(organization=globex, subject="organization", subject_id=globex.pk, kind="renamed",
              actor="charlie"),
    ]  # fmt: skip
    Event.objects.bulk_create(rows)
    return {event.kind: event for event in Event.objects.all()}


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"subject__exact": "cluster"}, {"draining"}),
        ({"subject__exact": "deployment", "subject_id": "7"}, {"evicted"}),
        ({"kind": "renamed"}, {"renamed"}),
        ({"actor": "olga"}, {"draining"}),
        ({"q": "7"}, {"evicted"}),
        ({"q": "olga"}, {"draining"}),
        ({"time_to_0": "2026-01-02", "time_to_1": "03:05"}, {"draining"}),
        ({"time_from_0": "2026-01-03"}, {"evicted", "renamed"}),
    ],
)
def test_events_are_found(
    console: Client, events: dict[str, Event], query: dict[str, str], kinds: set[str]
) -> None:
    found = console.get(EVENTS, query).context["cl"].result_list

    assert {event.kind for event in found} == kinds


def test_events_are_found_by_organization(console: Client, events: dict[str, Event]) -> None:
    query = {"organization__id__exact": events["renamed"].organization_id}

    (event,) = console.get(EVENTS, query).context["cl"].result_list

    assert event.kind == "renamed"


def test_an_event_links_to_its_subject_and_its_preemptor(
    console: Client, events: dict[str, Event], acme: Organization
) -> None:
    page = console.get(EVENTS).content.decode()

    for address in (
        "/admin/deployments/deployment/7/change/", "/admin/deployments/deployment/8/change/",
        "/admin/cluster/3/", f"/admin/orgs/organization/{acme.pk}/change/",
    ):  # fmt: skip
        assert f'href="{address}"' in page


def test_events_are_listed_without_counting_them(console: Client, events: dict[str, Event]) -> None:
    with CaptureQueriesContext(connection) as queries:
        console.get(EVENTS, {"actor": "olga"})

    assert not any("COUNT(" in query["sql"] for query in queries)
