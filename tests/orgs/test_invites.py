"""The terms of invite codes, and the restrictions of registration."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from orgs import services
from orgs.models import Event, Membership, Organization
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, refusal
from tests.support.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def rotate(client: APIClient, organization: Organization, **terms: Any) -> Any:
    return client.post(f"/organizations/{organization.pk}/regenerate-invite", terms)


def join(client: APIClient, code: str) -> Any:
    return client.post("/join-organization", {"invite_code": code})


def register(**given: Any) -> Any:
    return APIClient().post("/register", {"username": "erin", "password": PASSWORD} | given)


@pytest.fixture
def owner(alice: User, acme: Organization, client_for: ClientFor) -> APIClient:
    return client_for(alice)


def test_a_new_code_has_no_end_by_default(
    owner: APIClient, acme: Organization, charlie: User, client_for: ClientFor
) -> None:
    answer = rotate(owner, acme).json()

    assert {name: answer[name] for name in answer if name != "invite_code"} == {
        "invite_expires_at": None, "invite_max_uses": None, "invite_uses": 0,
    }  # fmt: skip
    with time_machine.travel(timezone.now() + timedelta(days=3650), tick=False):
        assert join(client_for(charlie), answer["invite_code"]).status_code == 200


def test_admins_see_the_terms_and_how_often_a_code_was_used(
    owner: APIClient, acme: Organization, bob: User, charlie: User, client_for: ClientFor
) -> None:
    code = rotate(owner, acme, expires_in_s=60, max_uses=5).json()["invite_code"]
    join(client_for(charlie), code)

    shown = owner.get(f"/organizations/{acme.pk}").json()
    hidden = client_for(bob).get(f"/organizations/{acme.pk}").json()

    assert (shown["invite_max_uses"], shown["invite_uses"]) == (5, 1)
    assert shown["invite_expires_at"] is not None
    terms = ("invite_code", "invite_expires_at", "invite_max_uses", "invite_uses")
    assert [hidden[name] for name in terms] == [None] * 4


@pytest.mark.parametrize("named", ["expires_at", "expires_in_s"])
def test_an_expired_code_is_refused_like_an_unknown_one(
    owner: APIClient, acme: Organization, charlie: User, client_for: ClientFor, named: str
) -> None:
    end = timezone.now() + timedelta(seconds=60)
    value = {"expires_at": end.isoformat(), "expires_in_s": 60}[named]
    code = rotate(owner, acme, **{named: value}).json()["invite_code"]
    client = client_for(charlie)

    with time_machine.travel(end + timedelta(seconds=1), tick=False):
        expired, unknown = join(client, code), join(client, "unknown")

    assert refusal(expired, 404) == refusal(unknown, 404)
    assert join(client, code).status_code == 200


def test_a_used_up_code_is_refused_like_an_unknown_one(
    owner: APIClient, acme: Organization, charlie: User, client_for: ClientFor
) -> None:
    code = rotate(owner, acme, max_uses=1).json()["invite_code"]
    assert register(invite_code=code).status_code == 201

    used_up = join(client_for(charlie), code)

    assert refusal(used_up, 404) == refusal(join(client_for(charlie), "unknown"), 404)


def test_joining_again_does_not_count_as_a_use(
    owner: APIClient, acme: Organization, charlie: User, client_for: ClientFor
) -> None:
    code = rotate(owner, acme, max_uses=1).json()["invite_code"]
    refusal(join(owner, code), 409)

    assert join(client_for(charlie), code).status_code == 200


def test_a_code_without_terms_works(
    acme: Organization, charlie: User, client_for: ClientFor
) -> None:
    assert join(client_for(charlie), acme.invite_code).status_code == 200


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"expires_in_s": 0}, "expires_in_s"),
        ({"expires_in_s": 10**12}, "expires_in_s"),
        ({"expires_at": "yesterday"}, "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z", "expires_in_s": 5}, "expires_in_s"),
        ({"max_uses": 0}, "max_uses"),
        ({"max_uses": 10**12}, "max_uses"),
        ({"uses": 1}, "uses"),
    ],
)
def test_bad_terms_are_named(
    owner: APIClient, acme: Organization, terms: dict[str, Any], field: str
) -> None:
    assert attrs(rotate(owner, acme, **terms)) == {field}
    assert Organization.objects.get().invite_code == acme.invite_code


def test_the_event_contains_the_terms_but_not_the_code(
    owner: APIClient, acme: Organization
) -> None:
    code = rotate(owner, acme, max_uses=3).json()["invite_code"]

    event = Event.objects.get(kind="invite_regenerated")

    assert event.data == {"expires_at": None, "max_uses": 3}
    assert code not in f"{event.reason} {event.data}"


def test_operators_see_the_terms(console: Client, owner: APIClient, acme: Organization) -> None:
    rotate(owner, acme, max_uses=77)

    page = console.get(f"{reverse('admin:orgs_organization_change', args=[acme.pk])}?edit")

    assert "Invite max uses" in page.content.decode()
    assert "77" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_concurrent_joins_do_not_exceed_the_code_s_maximum(
    acme: Organization, client_for: ClientFor
) -> None:
    services.regenerate_invite(acme, actor="alice", max_uses=2)
    code = Organization.objects.get().invite_code
    people = UserFactory.create_batch(6)
    start = threading.Barrier(len(people))
    statuses: list[int] = []

    def call(user: User) -> None:
        start.wait()
        statuses.append(join(client_for(user), code).status_code)
        connection.close()

    threads = [threading.Thread(target=call, args=[user]) for user in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 200, 404, 404, 404, 404]
    assert Membership.objects.filter(user__in=people).count() == 2
    assert Organization.objects.get().invite_uses == 2


def test_closed_registration_registers_no_user(settings: Settings, acme: Organization) -> None:
    settings.REGISTRATION = "closed"

    for given in ({}, {"invite_code": acme.invite_code}, {"username": ""}):
        error = refusal(register(**given), 403)

        assert error["code"] == "registration_closed"
        assert "ask an operator" in error["detail"]
    assert not User.objects.filter(username="erin").exists()


def test_registration_by_invitation_needs_a_code(settings: Settings, acme: Organization) -> None:
    settings.REGISTRATION = "invite"

    error = refusal(register(), 403)

    assert (error["code"], error["attr"]) == ("invite_code_required", "invite_code")
    refusal(register(invite_code="wrong"), 400)
    assert not User.objects.filter(username="erin").exists()
    assert register(invite_code=acme.invite_code).status_code == 201


@pytest.mark.parametrize("registration", ["closed", "invite"])
def test_operators_can_add_users_even_if_registration_is_restricted(
    settings: Settings, console: Client, registration: str
) -> None:
    settings.REGISTRATION = registration
    form = {"username": "erin", "password1": PASSWORD, "password2": PASSWORD}

    console.post(reverse("admin:accounts_user_add"), {"usable_password": "true", **form})

    assert User.objects.filter(username="erin").exists()
