"""Signing in and out, and registration."""

from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import BrowserSession, User
from orgs.models import Organization
from tests.support.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

PAGE = "/account/sign-in/"


def sign_in(client: Client, username: str = "dora", password: str = PASSWORD, **more: str) -> Any:
    return client.post(PAGE, {"username": username, "password": password, **more})


def who(client: Client) -> str | None:
    """Return the name of the person who is signed in."""
    user = client.get("/", follow=True).context["user"]
    return str(user.username) or None


def test_a_person_signs_in_by_username(client: Client, dora: User) -> None:
    response = sign_in(client)

    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert who(client) == "dora"


def test_a_person_signs_in_by_a_verified_address_in_any_case(client: Client, dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())

    sign_in(client, "Dora@Example.org")

    assert who(client) == "dora"


def test_an_unverified_address_is_no_name(client: Client, dora: User) -> None:
    response = sign_in(client, "dora@example.org")

    assert response.status_code == 200
    assert "username or password is wrong" in response.content.decode()


def test_a_username_does_not_take_another_one_s_address(client: Client, dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())
    User.objects.create_user("dora@example.org", password="the thief's own one")

    sign_in(client, "dora@example.org")

    assert who(client) == "dora"


def test_an_address_counts_with_the_username_towards_the_lock_out(
    client: Client, dora: User, settings: Settings
) -> None:
    User.objects.filter(pk=dora.pk).update(email_verified_at=timezone.now())
    settings.AXES_FAILURE_LIMIT = 2
    sign_in(client, "dora", "wrong")

    assert sign_in(client, "dora@example.org", "wrong").status_code == 429
    assert sign_in(client, "dora").status_code == 429


def test_the_session_has_a_new_id_after_the_sign_in(client: Client, dora: User) -> None:
    session = client.session
    session["before"] = 1
    session.save()
    before = client.cookies[configured.SESSION_COOKIE_NAME].value

    sign_in(client)

    after = client.cookies[configured.SESSION_COOKIE_NAME]
    assert after.value != before
    assert (after["httponly"], after["samesite"]) == (True, "Lax")
    assert BrowserSession.objects.count() == 1


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/my/tokens/?a=1", "/my/tokens/?a=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("http://testserver/admin/", "/"),
        ("javascript:alert(1)", "/"),
        ("my/tokens/", "/"),
    ],
)
def test_a_sign_in_leads_to_own_paths_only(
    client: Client, dora: User, wanted: str, leads_to: str
) -> None:
    assert sign_in(client, next=wanted).headers["Location"] == leads_to


def test_a_name_that_is_too_long_to_be_one_is_refused(client: Client) -> None:
    """Each of the letters becomes two in lower case."""
    for name in ("x" * 300, "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 150):
        assert "username or password is wrong" in sign_in(client, name).content.decode()


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}?again", "/account/register/"])
def test_a_person_who_has_signed_in_is_not_sent_round_in_circles(
    client: Client, dora: User, path: str
) -> None:
    sign_in(client)

    response = client.get(path.partition("?")[0], {"next": path})

    assert response.headers["Location"] == "/"


def test_a_page_that_needs_a_sign_in_is_shown_afterwards(client: Client, dora: User) -> None:
    page = client.get("/account/sessions/")

    assert page.headers["Location"] == "/account/sign-in/?next=/account/sessions/"


def test_the_admin_uses_the_same_page(client: Client, olga: User) -> None:
    page = client.get("/admin/queue/", follow=True)

    assert page.redirect_chain[-1][0] == "/account/sign-in/?next=/admin/queue/"
    response = sign_in(client, "olga", "not-tried", next="/admin/queue/")
    assert response.headers["Location"] == "/admin/queue/"


def test_a_member_who_opens_the_admin_is_not_asked_for_a_password(
    client: Client, dora: User
) -> None:
    sign_in(client)

    page = client.get("/admin/", follow=True)

    assert page.status_code == 403
    assert "not an operator" in page.content.decode()
    assert 'type="password"' not in page.content.decode()
    assert 'href="/"' in page.content.decode()


@pytest.mark.parametrize("path", ["/account/sign-out/", "/admin/logout/"])
def test_signing_out_ends_the_session(client: Client, dora: User, path: str) -> None:
    sign_in(client)

    response = client.post(path)

    assert response.headers["Location"] == PAGE
    assert not BrowserSession.objects.exists()
    assert client.get(path).status_code == 405


def test_a_deactivated_user_does_not_sign_in(client: Client, dora: User) -> None:
    User.objects.filter(pk=dora.pk).update(is_active=False)

    assert "username or password is wrong" in sign_in(client).content.decode()


def register(client: Client, **given: str) -> Any:
    form = {
        "username": "erin", "email": "erin@example.org", "password": PASSWORD,
        "password_again": PASSWORD, **given,
    }  # fmt: skip
    return client.post("/account/register/", form)


def test_a_registered_person_is_signed_in_with_an_unverified_address(client: Client) -> None:
    response = register(client)

    assert response.headers["Location"] == "/"
    assert who(client) == "erin"
    erin = User.objects.get(username="erin")
    assert (erin.email, erin.email_verified_at) == ("erin@example.org", None)


def test_an_invite_code_makes_a_registered_person_a_member(
    client: Client, acme: Organization
) -> None:
    register(client, invite_code=acme.invite_code)

    assert acme.memberships.filter(user__username="erin").exists()


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("username", "ALICE", "taken"),
        ("username", "service:x", "A username cannot contain :"),
        ("password", "short", "too short"),
        ("password_again", "another one entirely", "The two passwords differ"),
        ("email", "nowhere", "valid email"),
        ("invite_code", "wrong", "invite code is not valid"),
    ],
)
def test_what_is_wrong_with_a_registration_stands_beside_its_field(
    client: Client, alice: User, field: str, value: str, error: str
) -> None:
    given = {field: value}
    if field == "password":
        given["password_again"] = value

    response = register(client, **given)

    assert response.status_code == 200
    assert error in " ".join(response.context["form"].errors[field])
    assert User.objects.count() == 1


def test_a_closed_registration_says_whom_to_ask(client: Client, settings: Settings) -> None:
    settings.REGISTRATION = "closed"

    assert register(client).status_code == 403
    assert "ask an operator" in client.get("/account/register/").content.decode()
    assert "Register" not in client.get(PAGE).content.decode()
    assert not User.objects.exists()


def test_an_invitation_is_required_where_the_operator_says_so(
    client: Client, settings: Settings, acme: Organization
) -> None:
    settings.REGISTRATION = "invite"

    assert "required" in str(register(client).context["form"].errors["invite_code"])
    assert register(client, invite_code=acme.invite_code).status_code == 302
