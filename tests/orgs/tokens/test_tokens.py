"""Making, listing, using and revoking API tokens."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import IdempotencyKey, User
from orgs.models import ApiToken, Organization
from orgs.tasks import purge_expired_tokens
from orgs.tokens import services
from orgs.tokens.grants import Scope
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal
from tests.support.tokens import bearer, client_with, token_of

pytestmark = pytest.mark.django_db

CI = {"name": "ci", "scopes": ["submit"]}


@pytest.fixture
def client(alice: User, acme: Organization, client_for: ClientFor) -> APIClient:
    """A client of alice, who has logged in."""
    return client_for(alice)


def created(client: APIClient, **fields: Any) -> Any:
    response = client.post("/tokens", CI | fields)
    assert response.status_code == 201, response.data
    return response.json()


def test_a_new_token_is_shown_once_and_only_its_digest_is_stored(client: APIClient) -> None:
    made = created(client)
    text = made.pop("token")

    assert text.startswith("hv_")
    assert len(text) == 3 + 43
    row = ApiToken.objects.get()
    assert row.digest == hashlib.sha256(text.encode()).hexdigest()
    assert made["start"] == text[:9]
    assert not [value for value in vars(row).values() if text in str(value)]
    assert client.get("/tokens").json()["results"] == [made]
    assert client.get(f"/tokens/{row.pk}").json() == made


def test_the_response_with_a_token_is_not_cached(client: APIClient) -> None:
    assert client.post("/tokens", CI).headers["Cache-Control"] == "no-store"


def test_a_token_identifies_its_user(alice: User, client: APIClient) -> None:
    made = created(client)

    me = bearer(made.pop("token")).get("/me").json()

    assert (me["id"], me["username"]) == (alice.pk, "alice")
    assert me["token"] == made | {"last_used_at": me["token"]["last_used_at"]}


def test_a_caller_who_logged_in_has_no_token(dora: User, log_in: LogIn) -> None:
    me = bearer(log_in().json()["access_token"]).get("/me").json()

    assert (me["username"], me["token"]) == ("dora", None)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(alice: User, scheme: str) -> None:
    text = token_of(alice)[1]

    assert APIClient().get("/me", HTTP_AUTHORIZATION=f"{scheme}  {text}").status_code == 200


@pytest.mark.parametrize("text", ["hv_", "hv_unknown", "hv_\xff", "hv_" + "x" * 5000])
def test_an_unknown_token_is_refused(alice: User, text: str) -> None:
    response = APIClient().get("/me", HTTP_AUTHORIZATION=f"Bearer {text}")

    assert refusal(response, 401)["code"] == "token_not_valid"


def test_authentication_with_a_token_is_one_statement(alice: User, acme: Organization) -> None:
    client = client_with(alice)
    client.get("/me")

    with CaptureQueriesContext(connection) as queries:
        client.get("/me")

    assert len(queries) == 2, "one for the caller, one for the memberships"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["read"], ["read"]),
        (["submit"], ["read", "submit"]),
        (["submit", "read"], ["read", "submit"]),
        (["admin"], ["read", "submit", "admin"]),
    ],
)
def test_a_scope_includes_those_before_it(
    client: APIClient, given: list[str], shown: list[str]
) -> None:
    assert created(client, scopes=given)["scopes"] == shown


@pytest.mark.parametrize(
    ("fields", "attr"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "read"}, "scopes"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 367}, "expires_in_days"),
        ({"expires_at": None, "until": 1}, "until"),
        ({"token": "hv_mine"}, "token"),
    ],
)
def test_a_wrong_field_is_named(client: APIClient, fields: dict[str, Any], attr: str) -> None:
    assert attrs(client.post("/tokens", CI | fields)) == {attr}
    assert not ApiToken.objects.exists()


def test_a_token_is_valid_for_90_days_unless_given_otherwise(client: APIClient) -> None:
    lifetimes = [
        ApiToken.objects.get(pk=created(client, **fields)["id"])
        for fields in ({}, {"expires_in_days": None}, {"expires_in_days": 366})
    ]

    days = [(token.expires_at - token.created_at).days for token in lifetimes]
    assert days == [90, 90, 366]


def test_an_operator_can_lower_the_default(client: APIClient, settings: Settings) -> None:
    settings.TOKEN_MAX_DAYS = 7

    token = ApiToken.objects.get(pk=created(client)["id"])

    assert token.expires_at - token.created_at == timedelta(days=7)


def test_an_expired_token_is_refused_and_listed_until_it_is_purged(
    alice: User, client: APIClient
) -> None:
    made, now = created(client), timezone.now()
    holder = bearer(made["token"])

    with time_machine.travel(now + timedelta(days=91), tick=False):
        assert "expired" in refusal(holder.get("/me"), 401)["detail"]
        purge_expired_tokens()
        assert ids(client.get("/tokens")) == [made["id"]]
    with time_machine.travel(now + timedelta(days=121), tick=False):
        purge_expired_tokens()

    assert not ApiToken.objects.exists()


def test_a_revoked_token_is_refused(client: APIClient) -> None:
    made = created(client)

    assert client.delete(f"/tokens/{made['id']}").status_code == 204

    refusal(bearer(made["token"]).get("/me"), 401)


@pytest.mark.parametrize("scope", Scope)
def test_a_token_revokes_itself(alice: User, acme: Organization, scope: Scope) -> None:
    token, text = token_of(alice, scope, acme)

    assert bearer(text).delete(f"/tokens/{token.pk}").status_code == 204

    refusal(bearer(text).get("/me"), 401)


def test_a_limited_token_cannot_revoke_another_one(alice: User, acme: Organization) -> None:
    other, _text = token_of(alice, Scope.READ, acme)

    for holder in (client_with(alice, Scope.ADMIN, acme), client_with(alice, Scope.SUBMIT)):
        assert refusal(holder.delete(f"/tokens/{other.pk}"), 403)["code"] == "token_scope"
    assert client_with(alice).delete(f"/tokens/{other.pk}").status_code == 204


def test_a_user_sees_only_own_tokens(client: APIClient, bob: User) -> None:
    theirs, _text = token_of(bob)

    assert ids(client.get("/tokens")) == []
    refusal(client.get(f"/tokens/{theirs.pk}"), 404)
    refusal(client.delete(f"/tokens/{theirs.pk}"), 404)


def test_a_token_for_one_organization_sees_only_tokens_for_it(
    alice: User, acme: Organization
) -> None:
    everywhere, _text = token_of(alice)
    here, text = token_of(alice, Scope.ADMIN, acme)

    assert ids(bearer(text).get("/tokens")) == [here.pk]
    refusal(bearer(text).get(f"/tokens/{everywhere.pk}"), 404)


def test_a_token_for_an_organization_needs_a_membership(
    client: APIClient, globex: Organization
) -> None:
    error = refusal(client.post("/tokens", CI | {"organization": globex.pk}), 404)

    assert error["attr"] == "organization"


@pytest.mark.parametrize("scope", [Scope.READ, Scope.SUBMIT])
def test_a_limited_token_makes_no_token(alice: User, acme: Organization, scope: Scope) -> None:
    for holder in (client_with(alice, scope), client_with(alice, Scope.ADMIN, acme)):
        assert refusal(holder.post("/tokens", CI), 403)["code"] == "token_scope"


def test_a_token_makes_none_that_outlives_it(alice: User) -> None:
    token, text = services.create(alice, name="short", scope=Scope.ADMIN, days=10)
    holder = bearer(text)

    made = created(holder)

    assert ApiToken.objects.get(pk=made["id"]).expires_at == token.expires_at
    assert created(holder, expires_in_days=9)["id"]
    assert attrs(holder.post("/tokens", CI | {"expires_in_days": 11})) == {"expires_in_days"}


def test_the_tokens_of_a_user_are_limited(client: APIClient, settings: Settings) -> None:
    settings.MAX_TOKENS_PER_USER = 2
    first = created(client)
    created(client)

    error = refusal(client.post("/tokens", CI), 409)
    assert error["code"] == "limit_reached"
    assert "(MAX_TOKENS_PER_USER)" in error["detail"]
    client.delete(f"/tokens/{first['id']}")
    assert created(client)


def test_an_expired_token_does_not_count(client: APIClient, settings: Settings) -> None:
    settings.MAX_TOKENS_PER_USER = 1
    created(client, expires_in_days=1)
    ApiToken.objects.update(expires_at=timezone.now())

    assert created(client)


def test_the_use_of_a_token_is_recorded_once_a_minute(alice: User) -> None:
    token, text = token_of(alice)
    start = timezone.now()
    recorded = []

    for seconds in (0, 59, 61):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            bearer(text).get("/me")
        token.refresh_from_db()
        assert token.last_used_at is not None
        recorded.append((token.last_used_at - start).total_seconds())

    assert recorded == [0, 0, 61]


def test_a_replay_does_not_show_the_token_which_is_not_stored(client: APIClient) -> None:
    key = {"Idempotency-Key": "k"}
    first = client.post("/tokens", CI, headers=key).json()

    again = client.post("/tokens", CI, headers=key)

    assert again.json() == first | {"token": None}
    assert again.headers["Idempotent-Replayed"] == "true"
    assert ApiToken.objects.count() == 1
    assert first["token"] not in IdempotencyKey.objects.get().body


def test_a_replay_needs_the_membership_that_the_request_needed(
    client: APIClient, alice: User, acme: Organization
) -> None:
    key, body = {"Idempotency-Key": "k"}, CI | {"organization": acme.pk}
    client.post("/tokens", body, headers=key)
    alice.memberships.all().delete()

    refusal(client.post("/tokens", body, headers=key), 404)
