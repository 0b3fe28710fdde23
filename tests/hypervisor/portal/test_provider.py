"""Signing in through a real OpenID Connect provider."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import ProviderIdentity, User
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.log_in import LogIn
from tests.fixtures.rates import Rates
from tests.support.answers import refusal
from tests.support.factories import PASSWORD, MembershipFactory
from tests.support.oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Provider,
    provider_running,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rates")]

HERE = "http://localhost:8000"


@pytest.fixture(scope="module")
def running(node_tools: Path) -> Iterator[Provider]:
    with provider_running(node_tools.parent.parent, [HERE]) as provider:
        yield provider


@pytest.fixture
def provider(running: Provider, settings: Settings) -> Provider:
    """A provider that knows ada, and is the one of this service."""
    settings.OIDC_ISSUER = running.issuer
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
    settings.OIDC_NAME = "Keys & Co"
    running.claims = {}
    running.knows("ada", preferred_username="ada")
    return running


def begin(client: Client, **query: str) -> str:
    """Return the address at the provider to which the button leads."""
    response = client.get("/account/provider/", query)
    assert response.status_code == 302, response.content
    return str(response.headers["Location"])


def come_back(client: Client, address: str) -> Any:
    parts = urlsplit(address)
    assert f"{parts.scheme}://{parts.netloc}" == HERE
    return client.get(f"{parts.path}?{parts.query}")


def sign_in(provider: Provider, login: str = "ada", client: Client | None = None) -> Any:
    client = client or Client()
    return come_back(client, provider.sign_in(begin(client), login))


def user_of(client: Client) -> User | None:
    pk = client.session.get(SESSION_KEY)
    return User.objects.get(pk=pk) if pk else None


def roles(user: User) -> dict[str, str]:
    return dict(user.memberships.values_list("organization__name", "role"))


def test_a_person_signs_in_and_gets_a_user(provider: Provider, client: Client) -> None:
    page = client.get("/account/sign-in/?next=/my/x/").content.decode()
    assert 'href="/account/provider/?next=%2Fmy%2Fx%2F">Sign in with Keys &amp; Co<' in page

    address = provider.sign_in(begin(client, next="/account/sessions/"), "ada")
    response = come_back(client, address)

    assert response.headers["Location"] == "/account/sessions/"
    ada = User.objects.get()
    assert (ada.username, ada.has_usable_password(), user_of(client)) == ("ada", False, ada)
    identity = ProviderIdentity.objects.get()
    assert (identity.issuer, identity.subject) == (provider.issuer, "ada")
    account = client.get("/account/").content.decode()
    assert "with Keys &amp; Co" in account
    assert "Change the password" not in account


def test_the_request_has_a_state_a_nonce_and_a_challenge(
    provider: Provider, client: Client
) -> None:
    asked = parse_qs(urlsplit(begin(client)).query)

    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"{HERE}/account/provider/callback/"]
    assert all(len(asked[name][0]) >= 20 for name in ("state", "nonce", "code_challenge"))


def test_the_next_sign_in_is_the_same_user_whatever_else_is_claimed(provider: Provider) -> None:
    sign_in(provider)
    provider.knows("ada", preferred_username="another", email="new@example.org")
    sign_in(provider)

    assert [user.username for user in User.objects.all()] == ["ada"]


def test_a_name_that_is_taken_or_not_valid_is_changed(provider: Provider, alice: User) -> None:
    provider.knows("1", preferred_username="Alice")
    provider.knows("2", preferred_username="Zoë Müller")
    sign_in(provider, "1")
    sign_in(provider, "2")

    names = [each.user.username for each in ProviderIdentity.objects.order_by("subject")]
    assert names == ["Alice-2", "Zo-M-ller"]


@pytest.mark.parametrize(
    ("claims", "here", "is_linked"),
    [
        ({"email_verified": True}, {}, True),
        ({"email_verified": False}, {}, False),
        ({}, {}, False),
        ({"email_verified": "true"}, {}, False),
        ({"email_verified": True}, {"email_verified_at": None}, False),
        ({"email_verified": True}, {"is_staff": True}, False),
    ],
)
def test_only_an_address_that_both_sides_have_verified_links_a_user(
    provider: Provider,
    alice: User,
    claims: dict[str, Any],
    here: dict[str, Any],
    is_linked: bool,
) -> None:
    User.objects.filter(pk=alice.pk).update(**here)
    provider.knows("ada", email=alice.email, **claims)
    sign_in(provider)

    assert (ProviderIdentity.objects.get().user == alice) is is_linked


def assert_refused(response: Any, reason: str, status: int = 403) -> None:
    page = response.content.decode()
    assert response.status_code == status, page
    assert reason in page
    assert 'href="/account/sign-in/"' in page
    assert not User.objects.exists()


def test_a_response_of_another_browser_is_refused(provider: Provider, client: Client) -> None:
    address = provider.sign_in(begin(Client()), "ada")

    assert_refused(come_back(client, address), "not accepted")


@pytest.mark.parametrize("changed", ["state", "code", "iss"])
def test_a_changed_response_is_refused(provider: Provider, client: Client, changed: str) -> None:
    path, _, query = provider.sign_in(begin(client), "ada").partition("?")
    given = {name: values[0] for name, values in parse_qs(query).items()}

    assert_refused(come_back(client, f"{path}?{urlencode(given | {changed: 'x'})}"), "not accepted")


def test_a_code_works_once(provider: Provider, client: Client) -> None:
    address = provider.sign_in(begin(client), "ada")
    come_back(client, address)
    User.objects.all().delete()

    assert_refused(come_back(client, address), "not accepted")


def change_what_was_asked(client: Client, **values: str) -> None:
    session = client.session
    for name in [each for each in session.keys() if each.startswith("_state_")]:  # noqa: SIM118
        session[name]["data"].update(values)
    session.modified = True
    session.save()


@pytest.mark.parametrize("what", ["nonce", "code_verifier"])
def test_a_response_to_another_request_is_refused(
    provider: Provider, client: Client, what: str
) -> None:
    address = provider.sign_in(begin(client), "ada")
    change_what_was_asked(client, **{what: "x" * 48})

    assert_refused(come_back(client, address), "not accepted")


def test_another_issuer_is_refused(provider: Provider, client: Client, settings: Settings) -> None:
    settings.OIDC_ISSUER = provider.issuer.replace("127.0.0.1", "localhost")

    assert_refused(client.get("/account/provider/"), "its metadata names the issuer")


def test_a_refusal_of_the_provider_is_shown(provider: Provider, client: Client) -> None:
    state = parse_qs(urlsplit(begin(client)).query)["state"][0]
    given = {"error": "access_denied", "error_description": "<b>No</b>", "state": state}

    response = client.get("/account/provider/callback/", given)

    assert_refused(response, "&lt;b&gt;No&lt;/b&gt;")


@pytest.mark.usefixtures("provider")
def test_a_text_that_no_provider_has_sent_is_not_shown(client: Client) -> None:
    begin(client)
    given = {"error": "x", "error_description": "Call 555-0100", "state": "guessed"}

    response = client.get("/account/provider/callback/", given)

    assert_refused(response, "not accepted")
    assert "555-0100" not in response.content.decode()


@pytest.mark.parametrize("address", ["nowhere", "a@example.org\nBcc: b@example.org", "a\0@b.org"])
def test_an_address_that_is_none_is_left_out(provider: Provider, address: str) -> None:
    provider.knows("ada", preferred_username="ada", email=address, email_verified=True)
    sign_in(provider)

    ada = User.objects.get()
    assert (ada.email, ada.email_verified_at) == ("", None)


def test_a_subject_that_is_too_long_is_refused(provider: Provider, client: Client) -> None:
    provider.knows("a" * 256)

    assert_refused(sign_in(provider, "a" * 256, client), "not valid")


def test_a_provider_that_is_down_is_a_503_with_a_way_back(
    provider: Provider, client: Client, settings: Settings
) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:1"

    assert_refused(client.get("/account/provider/"), "does not answer", 503)


def test_a_deactivated_user_does_not_sign_in(provider: Provider, client: Client) -> None:
    sign_in(provider)
    User.objects.update(is_active=False)

    response = sign_in(provider, client=client)

    assert "deactivated" in response.content.decode()
    assert user_of(client) is None


def test_without_a_provider_there_is_no_such_page(client: Client) -> None:
    assert client.get("/account/provider/").status_code == 404
    assert client.get("/account/provider/callback/").status_code == 404


def test_groups_make_a_member_and_unmake_one(provider: Provider, acme: Organization) -> None:
    groups = [f"hypervisor:{acme.pk}:viewer", "/hypervisor:Acme:admin", "staff", "hypervisor:x:y"]
    provider.knows("ada", preferred_username="ada", groups=groups)
    sign_in(provider)
    ada = User.objects.get(username="ada")
    assert roles(ada) == {"Acme": "admin"}

    provider.knows("ada", groups=[f"hypervisor:{acme.pk}:developer"])
    sign_in(provider)
    assert roles(ada) == {"Acme": "developer"}

    provider.knows("ada")
    sign_in(provider)
    assert roles(ada) == {"Acme": "developer"}, "no claim says nothing"

    provider.knows("ada", groups=[])
    sign_in(provider)
    assert roles(ada) == {}
    kinds = Event.objects.filter(actor="system:oidc").order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["member_added", "role_changed", "member_removed"]


def test_another_organization_with_the_name_takes_no_membership_away(
    provider: Provider, acme: Organization
) -> None:
    groups = ["hypervisor:Acme:developer"]
    provider.knows("ada", preferred_username="ada", groups=groups)
    sign_in(provider)
    Organization.objects.create(name="Acme")
    sign_in(provider)
    provider.knows("eve", preferred_username="eve", groups=groups)
    sign_in(provider, "eve")

    assert list(acme.memberships.filter(from_claims=True)) == [
        Membership.objects.get(user__username="ada")
    ]
    assert roles(User.objects.get(username="eve")) == {}, "it is not clear which one is meant"


def test_a_member_who_was_invited_stays(provider: Provider, acme: Organization) -> None:
    sign_in(provider)
    ada = User.objects.get(username="ada")
    MembershipFactory(organization=acme, user=ada, role=Role.VIEWER)
    for groups in ([f"hypervisor:{acme.pk}:owner"], []):
        provider.knows("ada", groups=groups)
        sign_in(provider)

    assert roles(ada) == {"Acme": "viewer"}


def test_the_last_owner_stays(provider: Provider, acme: Organization, alice: User) -> None:
    provider.knows("ada", preferred_username="ada", groups=[f"hypervisor:{acme.pk}:owner"])
    sign_in(provider)
    Membership.objects.filter(user=alice).delete()
    provider.knows("ada", groups=[])

    assert sign_in(provider).headers["Location"] == "/"
    assert roles(User.objects.get(username="ada")) == {"Acme": "owner"}


def test_signing_out_ends_the_session_at_the_provider(provider: Provider, client: Client) -> None:
    sign_in(provider, client=client)

    page = client.post("/account/sign-out/")

    assert user_of(client) is None
    end = str(page.context["end"])
    assert end.startswith(f"{provider.issuer}/session/end?")
    asked = parse_qs(urlsplit(end).query)
    assert asked["post_logout_redirect_uri"] == [f"{HERE}/account/sign-in/"]
    assert asked["id_token_hint"][0].count(".") == 2


def test_a_person_without_a_password_confirms_with_a_recent_sign_in(
    provider: Provider, client: Client
) -> None:
    sign_in(provider, client=client)
    ada = User.objects.get()
    ada.browser_sessions.update(created_at=timezone.now() - timedelta(minutes=11))

    page = client.post("/account/delete/")
    assert "sign in again" in page.content.decode()

    sign_in(provider, client=client)
    assert client.post("/account/delete/").status_code == 302
    ada.refresh_from_db()
    assert (ada.is_active, ada.identities.count()) == (False, 0)


@pytest.fixture
def for_superusers(provider: Provider, settings: Settings) -> None:
    settings.LOCAL_SIGN_IN = "superusers"


@pytest.mark.usefixtures("for_superusers")
def test_passwords_can_be_switched_off_but_for_superusers(
    client: Client, dora: User, log_in: LogIn
) -> None:
    form = {"username": "dora", "password": PASSWORD}
    page = client.post("/account/sign-in/", form)
    assert "username or password is wrong" in page.content.decode()
    assert log_in().status_code == 401
    assert refusal(APIClient().post("/register", form), 403)["code"] == "registration_closed"
    assert client.get("/account/register/").status_code == 403

    User.objects.filter(pk=dora.pk).update(is_superuser=True)
    assert client.post("/account/sign-in/", form).status_code == 302
    assert log_in().status_code == 200


@pytest.mark.usefixtures("provider")
def test_a_log_in_ends_with_the_passwords(dora: User, log_in: LogIn, settings: Settings) -> None:
    body = {"refresh_token": log_in().json()["refresh_token"]}
    settings.LOCAL_SIGN_IN = "superusers"

    assert APIClient().post("/token/refresh", body).status_code == 401


@pytest.mark.usefixtures("for_superusers")
def test_it_takes_as_long_to_refuse_a_user_as_a_name_that_nobody_has(
    client: Client, dora: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: Any, password: str, salt: str) -> str:
        hashed.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    for name in ("dora", "nobody"):
        client.post("/account/sign-in/", {"username": name, "password": f"of {name}"})

    assert hashed == ["of dora", "of nobody"]


@pytest.mark.usefixtures("for_superusers")
def test_a_person_whose_password_is_refused_confirms_with_a_recent_sign_in(
    client: Client, dora: User
) -> None:
    client.force_login(dora, "django.contrib.auth.backends.ModelBackend")

    assert client.post("/account/delete/").status_code == 302
    dora.refresh_from_db()
    assert not dora.is_active


def test_registration_may_be_closed_for_others(provider: Provider, settings: Settings) -> None:
    settings.REGISTRATION = "closed"

    assert sign_in(provider).headers["Location"] == "/"


def test_sign_ins_through_the_provider_count_as_log_ins(
    provider: Provider, rates: Rates, client: Client
) -> None:
    cache.clear()
    rates["token"] = "1/min"
    begin(client)

    assert client.get("/account/provider/").status_code == 429
    assert client.head("/account/provider/").status_code == 429
