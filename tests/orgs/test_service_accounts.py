"""Service accounts: programs that are members, and the tokens that admins make for them."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.models import Deployment
from orgs import services as organizations
from orgs.models import ApiToken, Event, Membership, Organization, Role, ServiceAccount
from orgs.tokens.grants import Scope
from tests.fixtures.deployments import MemberAs
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal
from tests.support.factories import PASSWORD
from tests.support.routes import JOB
from tests.support.tokens import bearer, client_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(acme: Organization) -> str:
    return f"/organizations/{acme.pk}/service-accounts"


@pytest.fixture
def admin(member_as: MemberAs, client_for: ClientFor) -> APIClient:
    return client_for(member_as(Role.ADMIN))


def added(client: APIClient, path: str, name: str = "nightly", role: str = "developer") -> Any:
    response = client.post(path, {"name": name, "role": role})
    assert response.status_code == 201, response.data
    return response.json()


def token_for(client: APIClient, account: Any, scope: str = "admin") -> Any:
    body = {"name": "ci", "scopes": [scope], "service_account": account["id"]}
    response = client.post("/tokens", body)
    assert response.status_code == 201, response.data
    return response.json()


def test_an_admin_adds_a_service_account(admin: APIClient, path: str, acme: Organization) -> None:
    account = added(admin, path)

    user = User.objects.get(pk=account["user"])
    assert account["username"] == user.username == f"service:nightly@{acme.pk}"
    assert (account["role"], account["created_by"]) == ("developer", "some-admin")
    assert not user.has_usable_password()
    assert Membership.objects.get(user=user).role == Role.DEVELOPER
    assert admin.get(path).json()["results"] == [account]
    event = Event.objects.get(kind="service_account_added")
    assert (event.actor, event.data["user"]) == ("some-admin", user.pk)


def test_it_is_shown_as_such_among_the_members(admin: APIClient, path: str) -> None:
    account = added(admin, path)

    members = admin.get(path.replace("service-accounts", "members")).json()["results"]

    assert [each["service_account"] for each in members] == [None, None, None, account["id"]]


def test_its_role_is_below_that_of_who_adds_it(admin: APIClient, path: str) -> None:
    refusal(admin.post(path, {"name": "nightly", "role": "admin"}), 403)
    assert not ServiceAccount.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_only_admins_add_service_accounts(
    member_as: MemberAs, client_for: ClientFor, path: str, role: Role
) -> None:
    client = client_for(member_as(role))

    refusal(client.post(path, {"name": "nightly", "role": "viewer"}), 403)
    assert ids(client.get(path)) == []


@pytest.mark.parametrize("name", ["", "Nightly", "a b", "-a", "a-", "a--b", "a@b", "é"])
def test_a_name_consists_of_lower_case_letters_and_digits(
    admin: APIClient, path: str, name: str
) -> None:
    assert attrs(admin.post(path, {"name": name, "role": "viewer"})) == {"name"}


def test_a_name_is_unique_within_the_organization(admin: APIClient, path: str) -> None:
    added(admin, path)

    error = refusal(admin.post(path, {"name": "nightly", "role": "viewer"}), 409)

    assert (error["code"], error["attr"]) == ("unique", "name")


def test_the_service_accounts_of_an_organization_are_limited(
    admin: APIClient, path: str, settings: Settings
) -> None:
    settings.MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION = 1
    added(admin, path)

    error = refusal(admin.post(path, {"name": "another", "role": "viewer"}), 409)

    assert error["code"] == "limit_reached"
    assert "(MAX_SERVICE_ACCOUNTS_PER_ORGANIZATION)" in error["detail"]


def test_it_acts_with_its_role_by_a_token(
    admin: APIClient, path: str, acme: Organization, forge: Cluster
) -> None:
    account = added(admin, path)
    program = bearer(token_for(admin, account)["token"])

    submitted = program.post("/deployments", JOB)

    assert submitted.status_code == 201
    (event,) = Event.objects.filter(kind="submitted")
    assert event.actor == account["username"]
    assert program.get(f"/organizations/{acme.pk}").json()["role"] == "developer"
    assert program.get("/me").json()["token"]["service_account"] == account["id"]
    refusal(program.post(f"/clusters/{forge.pk}/cordon"), 403)


def test_it_reaches_nothing_outside_of_its_organization(
    admin: APIClient, path: str, globex: Organization
) -> None:
    program = bearer(token_for(admin, added(admin, path))["token"])

    for call, body in (
        ("/organizations", {"name": "Initech"}),
        ("/join-organization", {"invite_code": globex.invite_code}),
        ("/tokens", {"name": "another", "scopes": ["read"]}),
    ):
        assert refusal(program.post(call, body), 403)["code"] == "token_scope"


def test_no_password_logs_it_in(
    admin: APIClient, path: str, log_in: LogIn, client: Client, olga: User
) -> None:
    user = User.objects.get(pk=added(admin, path)["user"])

    refusal(log_in(user.username, ""), 400)
    refusal(log_in(user.username, PASSWORD), 401)
    # Not even one that an operator sets on the command line.
    user.set_password(PASSWORD)
    user.save()
    refusal(log_in(user.username, PASSWORD), 401)


def test_no_person_can_register_its_name(acme: Organization) -> None:
    body = {"username": f"service:nightly@{acme.pk}", "password": "four horses, nine carts"}

    assert attrs(APIClient().post("/register", body)) == {"username"}


def test_the_console_does_not_change_its_user(
    admin: APIClient, path: str, console: Client, olga: User
) -> None:
    user = added(admin, path)["user"]

    assert console.get(reverse("admin:accounts_user_change", args=[user])).status_code == 200
    page = reverse("admin:auth_user_password_change", args=[user])
    assert console.post(page, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 403
    assert not User.objects.get(pk=user).has_usable_password()


def test_it_becomes_no_owner(
    admin: APIClient, path: str, client_for: ClientFor, alice: User, acme: Organization
) -> None:
    account = added(admin, path)
    member = f"/organizations/{acme.pk}/members/{account['user']}"

    refusal(client_for(alice).patch(member, {"role": "owner"}), 409)
    assert client_for(alice).patch(member, {"role": "admin"}).json()["role"] == "admin"


def test_it_joins_no_other_organization(admin: APIClient, path: str, globex: Organization) -> None:
    user = User.objects.get(pk=added(admin, path)["user"])

    with pytest.raises(Exception, match="belongs to one organization"):
        organizations.add_member(globex, actor="olga", user=user, role=Role.VIEWER)
    with pytest.raises(Exception, match="belongs to one organization"):
        organizations.create(owner=user, name="Initech", bounded=False)


def test_its_tokens_are_listed_and_revoked_by_admins_only(
    admin: APIClient, path: str, bob: User, charlie: User, client_for: ClientFor
) -> None:
    account = added(admin, path)
    token = token_for(admin, account)
    query = f"/tokens?service_account={account['id']}"

    for other in (client_for(bob), client_for(charlie)):
        assert ids(other.get(query)) == []
        refusal(other.delete(f"/tokens/{token['id']}"), 404)
        body = {"name": "ci", "scopes": ["read"], "service_account": account["id"]}
        assert other.post("/tokens", body).status_code in (403, 404)
    assert ids(admin.get(query)) == [token["id"]]
    assert admin.delete(f"/tokens/{token['id']}").status_code == 204
    refusal(bearer(token["token"]).get("/me"), 401)
    kinds = Event.objects.filter(kind__startswith="token_").values_list("kind", flat=True)
    assert set(kinds) == {"token_created", "token_revoked"}


def test_an_admins_token_for_the_organization_makes_tokens_for_it(
    admin: APIClient, path: str, alice: User, acme: Organization
) -> None:
    account = added(admin, path)
    body = {"name": "ci", "scopes": ["read"], "service_account": account["id"]}

    made = client_with(alice, Scope.ADMIN, acme).post("/tokens", body)

    assert (made.status_code, made.json()["organization"]) == (201, acme.pk)
    refusal(client_with(alice, Scope.SUBMIT).post("/tokens", body), 403)


def test_a_token_for_it_names_no_other_organization(
    admin: APIClient, path: str, globex: Organization
) -> None:
    body = {"name": "ci", "scopes": ["read"], "service_account": added(admin, path)["id"]}

    response = admin.post("/tokens", body | {"organization": globex.pk})

    assert refusal(response, 400)["attr"] == "organization"


@pytest.mark.parametrize("way", ["account", "member"])
def test_a_deleted_account_leaves_its_deployments_like_a_member_who_left(
    admin: APIClient, path: str, acme: Organization, forge: Cluster, way: str
) -> None:
    account = added(admin, path)
    program = bearer(token_for(admin, account)["token"])
    deployment = program.post("/deployments", JOB).json()["id"]

    of = f"service-accounts/{account['id']}" if way == "account" else f"members/{account['user']}"
    response = admin.delete(f"/organizations/{acme.pk}/{of}")

    assert response.json() == {"left": {"deployments": {"pending": 1}}}
    refusal(program.get("/me"), 401)
    assert not ApiToken.objects.exists()
    assert ids(admin.get("/deployments?created_by_departed=true")) == [deployment]
    assert ids(admin.get(path)) == []
    assert Deployment.objects.get().created_by == User.objects.get(pk=account["user"])


def test_the_name_of_a_deleted_account_returns_with_its_user(admin: APIClient, path: str) -> None:
    former = added(admin, path)
    old = token_for(admin, former)["token"]
    admin.delete(f"{path}/{former['id']}")

    account = added(admin, path, role="viewer")

    assert account["user"] == former["user"]
    assert account["id"] != former["id"]
    refusal(bearer(old).get("/me"), 401)
    assert bearer(token_for(admin, account)["token"]).get("/me").status_code == 200


def test_it_ends_with_its_organization(admin: APIClient, path: str, acme: Organization) -> None:
    account = added(admin, path)
    token_for(admin, account)

    organizations.delete(acme, actor="alice")

    assert not ServiceAccount.objects.exists()
    assert not ApiToken.objects.exists()
    assert not User.objects.get(pk=account["user"]).is_active


def test_no_one_adds_an_owner(path: str, client_for: ClientFor, alice: User) -> None:
    error = refusal(client_for(alice).post(path, {"name": "nightly", "role": "owner"}), 400)
    assert (error["attr"], "never an owner" in error["detail"]) == ("role", True)


def test_an_admin_deletes_only_accounts_below(
    admin: APIClient, path: str, client_for: ClientFor, alice: User
) -> None:
    account = added(client_for(alice), path, role="admin")

    refusal(admin.delete(f"{path}/{account['id']}"), 403)
    assert client_for(alice).delete(f"{path}/{account['id']}").status_code == 204
