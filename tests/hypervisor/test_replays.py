"""Repeatable POSTs: only a caller who still has the rights gets the stored response."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.idempotency import IdempotentMixin
from accounts.models import IdempotencyKey, User
from deployments import services
from deployments.choices import Status
from deployments.notices import services as notices
from orgs.models import Membership, Organization, Role
from orgs.webhooks import services as webhooks
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.routes import BODIES, ENUMERATOR, filled_in

pytestmark = pytest.mark.django_db

SECRET = ("/tokens", "/webhooks", "/webhooks/{pk}/rotate")
"""The routes whose replay lacks what is secret in their responses, which has tests of its own."""

REPEATABLE = sorted(
    path
    for path, _, method, view in ENUMERATOR.get_api_endpoints()
    if method == "POST" and issubclass(view.cls, IdempotentMixin) and path not in SECRET
)
NEEDS = {"/deployments/{pk}/start": Status.STOPPED, "/deployments/{pk}/stop": Status.RUNNING,
         "/deployments/{pk}/checkpoint": Status.RUNNING}  # fmt: skip
"""The status that a verb requires, if it is not pending."""
SELECTING = [
    f"/deployments/{verb}" for verb in ("cancel", "stop", "hold", "release", "start", "priority")
]
"""The verbs that act on all deployments that a filter selects."""

Repeat = Callable[[], Any]


@pytest.fixture
def repeat(
    request: Any, alice: User, bob: User, acme: Organization, bring: Bring, client_for: ClientFor
) -> Repeat:
    """Make the request once as the owner; return a function that repeats it."""
    path: str = request.param
    body = BODIES.get(path, {})
    ids = {"organizations": acme.pk}
    if path == "/join-organization":
        body = {"invite_code": acme.invite_code}
        Membership.objects.filter(user=alice).delete()
    if path == "/deployments/hand-over":
        body = {"from_user": bob.pk, "to_user": alice.pk}
    if "{" in path:
        deployment = bring(NEEDS.get(path, Status.PENDING))
        ids |= {"deployments": deployment.pk, "clusters": acme.clusters.get().pk}
        ids |= {"nodes": acme.clusters.get().nodes.get().pk}
        webhook, _ = webhooks.add(acme, by=alice, url="https://hooks.example.org")
        delivery = webhook.deliveries.create(number=1, kind="placed", status="failed")
        rule, _ = notices.add(
            by=alice, user=None, organization=acme, channel="slack", url="https://hooks.example.org"
        )
        ids |= {"webhooks": webhook.pk, "deliveries": delivery.pk, "notices": rule.pk}
    elif path.startswith("/deployments"):
        for status in (Status.RUNNING, Status.PENDING, Status.FAILED):
            bring(status)
        services.hold(bring(Status.PENDING), actor="alice")
    query = f"?organization={acme.pk}" if path in SELECTING else ""
    address = filled_in(path, {**ids, "user": bob.pk}) + query

    def post() -> Any:
        return client_for(alice).post(address, body, headers={"Idempotency-Key": "k"})

    first = post()
    assert 200 <= first.status_code < 300, first.data
    again = post()
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    return post


@pytest.mark.parametrize("repeat", REPEATABLE, indirect=True)
def test_a_replay_is_refused_to_a_former_member(repeat: Repeat, alice: User) -> None:
    Membership.objects.filter(user=alice).delete()

    refusal(repeat(), 404)


@pytest.mark.parametrize(
    "repeat", sorted({*REPEATABLE} - {"/organizations", "/join-organization"}), indirect=True
)
def test_a_replay_needs_the_role_that_the_request_needed(repeat: Repeat, alice: User) -> None:
    Membership.objects.filter(user=alice).update(role=Role.VIEWER)

    assert "role" in refusal(repeat(), 403)["detail"]


@pytest.fixture
def founded(alice: User, client_for: ClientFor) -> APIClient:
    """Return a client of alice, who has founded an organization with a key."""
    client = client_for(alice)
    client.post("/organizations", {"name": "Initech"}, headers={"Idempotency-Key": "k"})
    return client


def found_again(client: APIClient) -> Any:
    return client.post("/organizations", {"name": "Initech"}, headers={"Idempotency-Key": "k"})


def test_a_replay_shows_a_demoted_founder_no_invite_code(founded: APIClient, alice: User) -> None:
    Membership.objects.filter(user=alice).update(role=Role.DEVELOPER)

    again = found_again(founded).json()

    assert (again["role"], again["invite_code"]) == ("developer", None)


def test_a_replay_shows_a_demoted_owner_no_new_invite_code(
    alice: User, acme: Organization, client_for: ClientFor
) -> None:
    client, path = client_for(alice), f"/organizations/{acme.pk}/regenerate-invite"
    client.post(path, headers={"Idempotency-Key": "k"})
    Membership.objects.filter(user=alice).update(role=Role.DEVELOPER)

    refusal(client.post(path, headers={"Idempotency-Key": "k"}), 403)


def test_no_invite_code_is_stored_with_a_response(founded: APIClient, acme: Organization) -> None:
    founded.post(
        f"/organizations/{acme.pk}/regenerate-invite", headers={"Idempotency-Key": "another"}
    )

    codes = Organization.objects.values_list("invite_code", flat=True)
    kept = " ".join(IdempotencyKey.objects.values_list("body", flat=True))
    assert len(codes) == 2
    assert not [code for code in codes if code in kept]


@pytest.mark.parametrize("path", SELECTING[:4])
def test_a_replay_shows_skipped_deployments_only_to_a_member(
    acme: Organization, alice: User, bring: Bring, client_for: ClientFor, path: str
) -> None:
    bring(Status.STOPPING)
    address, key = f"{path}?organization={acme.pk}", {"Idempotency-Key": "k"}
    first = client_for(alice).post(address, headers=key)
    assert len(first.json()["skipped"]) == 1
    Membership.objects.filter(user=alice).delete()

    refusal(client_for(alice).post(address, headers=key), 404)


@pytest.mark.parametrize("path", SELECTING)
def test_a_response_without_data_of_an_organization_is_replayed(
    acme: Organization, alice: User, client_for: ClientFor, path: str
) -> None:
    address, key = f"{path}?organization={acme.pk}", {"Idempotency-Key": "k"}

    answers = [client_for(alice).post(address, BODIES.get(path), headers=key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].content == answers[0].content


def test_a_response_of_the_former_release_is_not_replayed(founded: APIClient) -> None:
    IdempotencyKey.objects.update(needed=None)

    error = refusal(found_again(founded), 409)

    assert (error["code"], error["attr"]) == ("answer_not_kept", "Idempotency-Key")
    assert Organization.objects.count() == 1
