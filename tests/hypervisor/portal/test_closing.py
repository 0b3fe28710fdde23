"""The end of the own account, on its page and in the API."""

import pytest
from django.test import Client
from django.utils import timezone

from accounts import closing
from accounts.models import AuditEntry, User
from deployments.choices import Status
from deployments.models import Deployment, NoticeRule
from orgs import services
from orgs.models import Event, Organization, Role
from orgs.tokens.grants import Scope
from tests.fixtures.deployments import Bring
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.factories import PASSWORD, MembershipFactory
from tests.support.locks import run_second_during_first
from tests.support.tokens import bearer, client_with, token_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

PAGE = "/account/delete/"


@pytest.fixture
def dora(dora: User, acme: Organization) -> User:
    """Dora, a developer of Acme with a verified address."""
    MembershipFactory(organization=acme, user=dora, role=Role.DEVELOPER)
    dora.first_name, dora.email_verified_at = "Dora", timezone.now()
    dora.save()
    return dora


@pytest.fixture
def browser(dora: User) -> Client:
    client = Client()
    client.post("/account/sign-in/", {"username": "dora", "password": PASSWORD})
    return client


def test_what_is_personal_goes_and_the_name_stays(
    browser: Client, dora: User, acme: Organization, log_in: LogIn, bring: Bring
) -> None:
    job = bring(Status.RUNNING, created_by=dora)
    pair, token = log_in().json(), token_of(dora)[1]
    NoticeRule.objects.create(user=dora, channel="mail", kinds=["failed"])

    page = browser.post(PAGE, {"current_password": PASSWORD}, follow=True)

    assert "Your account is deleted" in page.content.decode()
    dora.refresh_from_db()
    assert (dora.username, dora.email, dora.first_name) == ("dora", "", "")
    assert (dora.is_active, dora.has_usable_password()) == (False, False)
    assert dora.email_verified_at is None
    assert not dora.memberships.exists()
    assert not dora.browser_sessions.exists()
    assert not NoticeRule.objects.exists()
    assert browser.get("/account/").status_code == 302
    for text in (pair["access_token"], token):
        assert bearer(text).get("/me").status_code == 401
    assert log_in().status_code == 401
    assert Deployment.objects.get(pk=job.pk).status == Status.RUNNING
    left = Event.objects.get(kind="member_removed")
    assert (left.actor, "1 running" in left.reason) == ("dora", True)
    assert AuditEntry.objects.filter(model="accounts.user", object_id=dora.pk).exists()


def test_nobody_else_gets_the_name(browser: Client) -> None:
    browser.post(PAGE, {"current_password": PASSWORD})
    form = {"username": "Dora", "password": PASSWORD, "password_again": PASSWORD}

    page = Client().post("/account/register/", form)

    assert "taken" in str(page.context["form"].errors)


def test_the_address_may_be_used_again(browser: Client, dora: User, alice: User) -> None:
    browser.post(PAGE, {"current_password": PASSWORD})

    User.objects.filter(pk=alice.pk).update(email="dora@example.org")


def test_the_password_is_asked_for(browser: Client, dora: User) -> None:
    page = browser.post(PAGE, {"current_password": "wrong"})

    assert "not your password" in str(page.context["form"].errors)
    dora.refresh_from_db()
    assert dora.is_active


def test_the_last_owner_gets_the_names_of_the_organizations(
    browser: Client, dora: User, acme: Organization
) -> None:
    services.create(owner=dora, name="Initech")
    services.create(owner=dora, name="Globex")
    shared = services.create(owner=dora, name="Shared")
    MembershipFactory(organization=shared, role=Role.OWNER)

    page = browser.post(PAGE, {"current_password": PASSWORD})

    (error,) = page.context["form"].non_field_errors()
    assert "last owner of Initech, Globex:" in error
    dora.refresh_from_db()
    assert dora.is_active
    assert dora.memberships.count() == 4


def test_the_api_deletes_the_account_of_the_caller(dora: User, client_for: ClientFor) -> None:
    assert client_for(dora).delete("/me").status_code == 204

    dora.refresh_from_db()
    assert not dora.is_active


@pytest.mark.parametrize("scope", Scope)
def test_no_api_token_deletes_the_account(dora: User, scope: Scope) -> None:
    assert refusal(client_with(dora, scope).delete("/me"), 403)["code"] == "token_scope"

    dora.refresh_from_db()
    assert dora.is_active


def test_the_api_names_the_organizations_too(
    alice: User, acme: Organization, client_for: ClientFor
) -> None:
    error = refusal(client_for(alice).delete("/me"), 409)

    assert (error["code"], "Acme" in error["detail"]) == ("last_owner", True)


def test_the_last_superuser_stays(olga: User, client_for: ClientFor) -> None:
    assert refusal(client_for(olga).delete("/me"), 409)["code"] == "last_superuser"

    User.objects.create_superuser("otto", password=PASSWORD)
    assert client_for(olga).delete("/me").status_code == 204


@pytest.mark.django_db(transaction=True)
def test_one_of_the_last_two_superusers_stays(olga: User) -> None:
    otto = User.objects.create_superuser("otto", password=PASSWORD)

    refusal = run_second_during_first(lambda: closing.close(olga), lambda: closing.close(otto))

    assert refusal.code == "last_superuser"
    otto.refresh_from_db()
    assert otto.is_active
