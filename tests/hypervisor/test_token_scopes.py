"""API tokens at all routes, which are found automatically: none allows more than it is for."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import AuditEntry, User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event, Membership, Organization, Role
from orgs.tokens.grants import Scope
from tests.fixtures.deployments import Bring
from tests.fixtures.people import ClientFor
from tests.support.answers import ids as ids_of
from tests.support.answers import refusal
from tests.support.factories import MembershipFactory
from tests.support.routes import BODIES, JOB, OF_ADMINS, ROUTES, filled_in
from tests.support.tokens import client_with, token_of

pytestmark = pytest.mark.django_db

OPEN = {"/register", "/token", "/token/refresh", "/docs", "/openapi.json", "/healthz", "/readyz"}
PUBLIC = OPEN | {"/metrics"}
PRIVATE = [route for route in ROUTES if route[1] not in PUBLIC]
WRITES = [route for route in PRIVATE if route[0] != "GET"]
READS = [path for method, path in PRIVATE if method == "GET"]
LISTS = [
    path for path in READS if "{" not in path and path not in ("/me", "/events", "/events/stream")
]
SUBMITTING = {
    ("POST", "/deployments"),
    ("POST", "/deployments/bulk"),
    *(("POST", f"/deployments/{verb}") for verb in ("cancel", "stop", "start", "priority")),
    *((method, "/deployments/{pk}") for method in ("PUT", "PATCH", "DELETE")),
    *(("POST", f"/deployments/{{pk}}/{v}") for v in ("start", "stop", "cancel", "checkpoint")),
}
"""The writes for which the scope `submit` is enough, on deployments of the token's user."""

OF_ACCOUNT = {
    ("DELETE", "/me"),
    ("POST", "/organizations"),
    ("POST", "/join-organization"),
    ("POST", "/token/revoke"),
    ("POST", "/tokens"),
}


def call(client: APIClient, route: tuple[str, str], ids: dict[str, int]) -> Any:
    method, path = route
    body = json.dumps(BODIES.get(path, {})) if method in ("POST", "PUT", "PATCH") else ""
    return client.generic(method, filled_in(path, ids), body, "application/json")


@pytest.fixture
def traces(ids: dict[str, int]) -> Any:
    """Return a function that counts what changes leave behind."""
    return lambda: (Event.objects.count(), AuditEntry.objects.count(), Deployment.objects.count())


@pytest.mark.parametrize("route", WRITES)
def test_a_token_to_read_changes_nothing(
    ids: dict[str, int], alice: User, bob: User, traces: Any, route: tuple[str, str]
) -> None:
    """Neither the token of an owner nor that of the submitter."""
    callers = [client_with(user, Scope.READ) for user in (alice, bob)]
    before = traces()

    for client in callers:
        answer = call(client, route, ids)
        if route == ("DELETE", "/tokens/{pk}") and answer.status_code == 404:
            continue  # the token of another user
        assert refusal(answer, 403)["code"] == "token_scope"
    assert traces() == before


@pytest.mark.parametrize("route", sorted({*WRITES} - SUBMITTING))
def test_a_token_to_submit_changes_nothing_but_deployments(
    ids: dict[str, int], alice: User, traces: Any, route: tuple[str, str]
) -> None:
    ids["tokens"] = token_of(alice)[0].pk
    client = client_with(alice, Scope.SUBMIT)
    before = traces()

    assert refusal(call(client, route, ids), 403)["code"] == "token_scope"
    assert traces() == before


@pytest.mark.parametrize("route", sorted(route for route in SUBMITTING if "{" in route[1]))
def test_a_token_to_submit_changes_no_deployment_of_others(
    ids: dict[str, int], alice: User, traces: Any, route: tuple[str, str]
) -> None:
    client = client_with(alice, Scope.SUBMIT)
    before = traces()

    assert refusal(call(client, route, ids), 403)["code"] == "token_scope"
    assert traces() == before


def test_a_token_to_submit_does_what_a_developer_does(
    acme: Organization, alice: User, bring: Bring
) -> None:
    theirs = bring(Status.RUNNING)
    client = client_with(alice, Scope.SUBMIT)

    (own,) = client.post("/deployments/bulk", {"deployments": [JOB]}).json()["deployments"]
    renamed = client.patch(f"/deployments/{own['id']}", {"name": "renamed"})
    cancelled = client.post("/deployments/cancel?all=true")
    skipped = client.post("/deployments/stop?all=true").json()["skipped"]

    assert renamed.json()["name"] == "renamed"
    assert cancelled.json()["deployments"] == [own["id"]]
    assert [(each["deployment"], each["code"]) for each in skipped] == [
        (theirs.pk, "permission_denied")
    ]


@pytest.mark.parametrize("route", sorted({*WRITES} - OF_ACCOUNT))
def test_a_token_with_all_scopes_does_what_the_member_may(
    ids: dict[str, int], alice: User, client_for: ClientFor, route: tuple[str, str]
) -> None:
    """What the member is refused for another reason, the token is refused for that reason."""
    as_token = call(client_with(alice), route, ids)

    if as_token.status_code == 403:
        assert as_token.json() == call(client_for(alice), route, ids).json()


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("route", sorted(OF_ACCOUNT))
def test_a_token_for_one_organization_changes_nothing_of_the_account(
    ids: dict[str, int], acme: Organization, alice: User, traces: Any, scope: Scope,
    route: tuple[str, str],
) -> None:  # fmt: skip
    client = client_with(alice, scope, acme)
    before = traces()

    assert refusal(call(client, route, ids), 403)["code"] == "token_scope"
    assert traces() == before


@pytest.fixture
def elsewhere(alice: User, ids: dict[str, int]) -> APIClient:
    """A client of alice, whose token with all scopes is for another organization than Acme."""
    membership: Membership = MembershipFactory(user=alice, role=Role.OWNER)
    return client_with(alice, Scope.ADMIN, membership.organization)


@pytest.mark.parametrize("route", [route for route in PRIVATE if "{" in route[1]])
def test_a_token_for_another_organization_finds_nothing(
    ids: dict[str, int], elsewhere: APIClient, route: tuple[str, str]
) -> None:
    refusal(call(elsewhere, route, ids), 404)


@pytest.mark.parametrize("path", LISTS)
def test_a_token_for_another_organization_lists_nothing(elsewhere: APIClient, path: str) -> None:
    own = {"/organizations": 1, "/tokens": 1}

    assert elsewhere.get(path).json()["count"] == own.get(path, 0)


@pytest.mark.parametrize("path", ["/events", "/events/stream"])
def test_a_token_for_another_organization_follows_no_events(
    elsewhere: APIClient, acme: Organization, path: str
) -> None:
    refusal(elsewhere.get(path, {"organization": acme.pk}), 404)


def test_a_token_for_another_organization_shows_no_other_membership(
    elsewhere: APIClient, acme: Organization
) -> None:
    (membership,) = elsewhere.get("/me").json()["memberships"]

    assert membership["organization"]["id"] != acme.pk


@pytest.mark.parametrize("path", ["/clusters", "/deployments", "/registries"])
def test_a_post_with_a_token_for_one_organization_means_this_one(
    elsewhere: APIClient, alice: User, acme: Organization, path: str
) -> None:
    created = elsewhere.post("/clusters", BODIES["/clusters"])
    named = elsewhere.post(path, BODIES[path] | {"organization": acme.pk})

    assert created.json()["organization"] != acme.pk
    assert refusal(named, 404)["attr"] == "organization"


@pytest.mark.parametrize("verb", ["cancel", "stop"])
def test_a_token_for_another_organization_selects_no_deployment(
    elsewhere: APIClient, verb: str
) -> None:
    outcome = elsewhere.post(f"/deployments/{verb}?all=true").json()

    assert (outcome["deployments"], outcome["skipped"]) == ([], [])


@pytest.mark.parametrize(
    ("scope", "role"),
    [(Scope.READ, "viewer"), (Scope.SUBMIT, "developer"), (Scope.ADMIN, "owner")],
)
def test_the_role_that_is_shown_is_the_one_that_the_token_leaves(
    acme: Organization, alice: User, scope: Scope, role: str
) -> None:
    client = client_with(alice, scope)

    shown = client.get(f"/organizations/{acme.pk}").json()
    (membership,) = client.get("/me").json()["memberships"]

    assert (shown["role"], membership["role"]) == (role, role)
    assert (shown["invite_code"] is not None) == (scope is Scope.ADMIN)


def test_a_scope_gives_no_role_that_the_member_has_not(acme: Organization, bob: User) -> None:
    client = client_with(bob)

    assert client.get(f"/organizations/{acme.pk}").json()["role"] == "developer"
    assert refusal(client.post("/clusters", BODIES["/clusters"]), 403)["code"] == (
        "permission_denied"
    )


@pytest.mark.parametrize("path", [path for path in READS if not path.startswith(OF_ADMINS)])
def test_every_scope_reads_everything(ids: dict[str, int], alice: User, path: str) -> None:
    ids["tokens"] = token_of(alice)[0].pk
    answer = client_with(alice, Scope.READ).get(filled_in(path, ids))

    # The container of the deployment, which the log is of, has not been started.
    assert answer.status_code == (409 if path.endswith("/logs") else 200)


@pytest.mark.parametrize("path", [path for path in READS if path.startswith(OF_ADMINS)])
def test_what_only_admins_see_needs_the_scope_admin(
    ids: dict[str, int], alice: User, path: str
) -> None:
    lower, admin = (
        client_with(alice, scope).get(filled_in(path, ids)) for scope in (Scope.SUBMIT, Scope.ADMIN)
    )

    assert lower.status_code == (403 if "{" in path else 200)
    assert not lower.json().get("results")
    assert admin.status_code == 200
    assert admin.json().get("count", 1) == 1


def test_a_method_that_a_path_does_not_have_is_405(alice: User) -> None:
    assert client_with(alice, Scope.READ).put("/me", {}).status_code == 405


def test_a_replay_needs_the_scope_that_the_request_needed(
    acme: Organization, forge: Cluster, alice: User
) -> None:
    key, path = {"Idempotency-Key": "k"}, "/deployments"
    assert client_with(alice, Scope.SUBMIT).post(path, JOB, headers=key).status_code == 201

    for client in (client_with(alice, Scope.READ), client_with(alice, Scope.READ, acme)):
        assert refusal(client.post(path, JOB, headers=key), 403)["code"] == "token_scope"
    assert client_with(alice, Scope.SUBMIT).post(path, JOB, headers=key).status_code == 201


def test_a_replay_shows_nothing_of_another_organization(
    elsewhere: APIClient, acme: Organization, alice: User, ids: dict[str, int]
) -> None:
    key, path = {"Idempotency-Key": "k"}, "/deployments/stop?all=true"
    first = client_with(alice, Scope.ADMIN).post(path, headers=key)
    assert first.json()["deployments"] == [ids["deployments"]]

    refusal(elsewhere.post(path, headers=key), 404)


def test_a_member_does_not_leave_with_a_token_for_one_organization(
    acme: Organization, bob: User, alice: User
) -> None:
    Membership.objects.filter(user=bob).update(role=Role.ADMIN)
    path = f"/organizations/{acme.pk}/members/{bob.pk}"

    refusal(client_with(bob, Scope.ADMIN, acme).delete(path), 403)
    assert client_with(bob).delete(path).status_code == 204


def test_lists_are_those_of_the_member(ids: dict[str, int], bob: User) -> None:
    client = client_with(bob, Scope.READ)

    assert ids_of(client.get("/deployments")) == [ids["deployments"]]
    assert ids_of(client.get("/deployments?created_by=me")) == [ids["deployments"]]
