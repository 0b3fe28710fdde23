# ruff: noqa: RUF001 the tests need names that look alike
"""Names that look alike, and log-ins by differently written names."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services
from accounts.models import User
from hypervisor.base.errors import Invalid
from orgs.models import Organization
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs
from tests.support.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db

INVISIBLE = ["Ini\u200btech", "Ini\u202etech", "Ini\x07tech", "Ini\u00adtech", "Ini\u2028tech"]
INVISIBLE += ["\u3164", "Ini\u2800tech", "Ini\u034ftech"]


@pytest.mark.parametrize("name", ["dora", "Dora", "DORA", " dora ", "ｄｏｒａ"])
def test_a_user_logs_in_by_any_spelling_of_the_name(dora: User, log_in: LogIn, name: str) -> None:
    assert log_in(name).status_code == 200


@pytest.mark.parametrize("name", ["dоra", "dora\u0301", "d ora", ""])
def test_a_name_that_only_looks_alike_does_not_log_in(dora: User, log_in: LogIn, name: str) -> None:
    assert log_in(name).status_code in (400, 401)


@pytest.mark.parametrize("name", ["ｄｏｒａ", "Анна", "zoë"])
def test_users_with_names_from_before_the_rule_can_log_in(
    dora: User, log_in: LogIn, name: str
) -> None:
    older: User = UserFactory(username=name, password="another nine horses")

    answer = log_in(name, "another nine horses").json()

    me = APIClient().get("/me", HTTP_AUTHORIZATION=f"Bearer {answer['access_token']}")
    assert me.json()["id"] == older.pk


def test_a_lockout_applies_to_every_spelling_of_the_name(
    dora: User, log_in: LogIn, settings: Settings
) -> None:
    spellings = ["dora", "Dora", "DORA", "ｄｏｒａ", "dOrA"]
    for number in range(settings.AXES_FAILURE_LIMIT):
        log_in(spellings[number % len(spellings)], "wrong")

    assert {log_in(name).status_code for name in spellings} == {429}
    assert 14 * 60 < int(log_in("DORA").headers["Retry-After"]) <= 15 * 60


@pytest.mark.parametrize("name", ["аda", "ａｄａ", "two words"])
def test_the_service_refuses_a_name_that_looks_alike(name: str) -> None:
    with pytest.raises(Invalid):
        services.create_user(username=name, email="", password=PASSWORD)


def test_a_name_is_unique_in_the_database_whatever_its_case(dora: User) -> None:
    with pytest.raises(IntegrityError):
        User.objects.create(username="DORA")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"username": "аda"}, "username"),
        ({"username": "DORA"}, "username"),
        ({"password1": " " * 20, "password2": " " * 20}, "password"),
    ],
)
def test_the_form_of_the_admin_has_the_same_rules(
    console: Client, dora: User, given: dict[str, str], field: str
) -> None:
    form = {"username": "erin", "password1": PASSWORD, "password2": PASSWORD} | given

    page = console.post(reverse("admin:accounts_user_add"), {"usable_password": "true", **form})

    assert any(name.startswith(field) for name in page.context["adminform"].form.errors)
    assert set(User.objects.values_list("username", flat=True)) == {"dora", "olga"}


@pytest.mark.parametrize("name", ["аda", "ａｄａ", "DORA"])
def test_createsuperuser_has_the_same_rules(dora: User, name: str) -> None:
    with pytest.raises(CommandError):
        call_command("createsuperuser", interactive=False, username=name, email="a@example.org")


@pytest.mark.parametrize("name", INVISIBLE)
@pytest.mark.parametrize("path", ["/organizations", "/clusters", "/deployments"])
def test_names_with_invisible_characters_are_refused(
    alice: User, acme: Organization, client_for: ClientFor, path: str, name: str
) -> None:
    assert attrs(post(client_for(alice), path, name)) == {"name"}


@pytest.mark.parametrize("path", ["/organizations", "/clusters", "/deployments"])
@pytest.mark.parametrize("name", ["　Ｉｎｉｔｅｃｈ\u00a01 ", "Initech 1"])
def test_names_are_stored_in_one_normal_form(
    alice: User, acme: Organization, client_for: ClientFor, path: str, name: str
) -> None:
    client = client_for(alice)
    post(client, "/clusters", "forge")

    assert post(client, path, name).json()["name"] == "Initech 1"


@pytest.mark.parametrize("path", ["/organizations", "/clusters", "/deployments"])
@pytest.mark.parametrize("name", ["\u3000", "ﷺ" * 60])
def test_the_length_of_a_name_is_that_of_its_stored_form(
    alice: User, acme: Organization, client_for: ClientFor, path: str, name: str
) -> None:
    assert attrs(post(client_for(alice), path, name)) == {"name"}


def test_the_admin_stores_names_in_one_normal_form(console: Client, alice: User) -> None:
    add = reverse("admin:orgs_organization_add")
    console.post(add, {"name": "Ｉｎｉｔｅｃｈ", "owner": alice.pk})
    refused = console.post(add, {"name": INVISIBLE[0], "owner": alice.pk})

    assert [row.name for row in Organization.objects.all()] == ["Initech"]
    assert "zero-width" in refused.content.decode()


def post(client: APIClient, path: str, name: str) -> Any:
    fields = {"image": "busybox"} if path == "/deployments" else {}
    amounts = {} if path == "/organizations" else {"cpu": 1, "ram_mib": 1024}
    return client.post(path, {"name": name, **fields, **amounts})
