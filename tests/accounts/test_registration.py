# ruff: noqa: RUF001 names that look alike are the subject
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection
from rest_framework.test import APIClient

from accounts import services
from accounts.models import User
from hypervisor.base.errors import Invalid
from orgs.models import Event, Membership, Organization, Role
from tests.support.answers import attrs, refusal
from tests.support.factories import PASSWORD

pytestmark = pytest.mark.django_db


def register(**given: Any) -> Any:
    body = {"username": "erin", "password": PASSWORD} | given
    return APIClient().post("/register", body, format="json")


def test_anyone_can_register() -> None:
    response = register(email="erin@example.org")

    assert response.status_code == 201
    assert response.json() == {
        "id": User.objects.get(username="erin").pk,
        "username": "erin",
        "email": "erin@example.org",
        "memberships": [],
    }


def test_a_registered_user_can_log_in() -> None:
    register()

    answer = APIClient().post("/token", {"username": "erin", "password": PASSWORD})

    assert answer.status_code == 200


def test_a_password_may_contain_blanks() -> None:
    assert register(password=" four horses ").status_code == 201


def test_a_username_is_trimmed() -> None:
    assert register(username=" erin ").json()["username"] == "erin"


def test_a_registration_with_an_invite_code_makes_a_developer(acme: Organization) -> None:
    response = register(invite_code=acme.invite_code)

    assert response.json()["memberships"] == [
        {"organization": {"id": acme.pk, "name": "Acme"}, "role": "developer"}
    ]
    assert Membership.objects.get(user__username="erin").role == Role.DEVELOPER
    assert Event.objects.get(organization=acme).actor == "erin"


def test_a_wrong_invite_code_registers_no_user() -> None:
    error = refusal(register(invite_code="wrong"), 400)

    assert error["attr"] == "invite_code"
    assert "ask an admin" in error["detail"]
    assert not User.objects.filter(username="erin").exists()


def test_a_replaced_invite_code_registers_no_user(acme: Organization) -> None:
    former = acme.invite_code
    Organization.objects.filter(pk=acme.pk).update(invite_code="another")

    refusal(register(invite_code=former), 400)

    assert not User.objects.filter(username="erin").exists()


@pytest.mark.parametrize("name", ["alice", "Alice", "ALICE"])
def test_a_username_is_taken_in_any_case(alice: User, name: str) -> None:
    error = refusal(register(username=name), 400)

    assert (error["attr"], error["code"]) == ("username", "unique")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "system:scheduler",
        "two words",
        "x" * 151,
        "nul\0",
        "ａｄａ",
        "аda",
        "zero\u200bwidth",
        "rtl\u202eadmin",
        "ada\u0301",
        "i\u0307",
    ],
)
def test_a_misleading_username_is_refused(name: str) -> None:
    assert attrs(register(username=name)) == {"username"}


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short1!",
        "password",
        "8371659204",
        " " * 20,
        "\t\n \u00a0\u3000" * 4,
        "\u200b" * 20,
        "\u2800" * 20,
        "\u3164" * 20,
        "x        y",
    ],
)
def test_a_weak_password_is_refused(password: str) -> None:
    assert attrs(register(password=password)) == {"password"}


def test_a_password_like_the_username_is_refused() -> None:
    assert attrs(register(username="erin.the.first", password="erin.the.1st")) == {"password"}


def test_a_bad_email_address_is_refused() -> None:
    assert attrs(register(email="nowhere")) == {"email"}


@pytest.mark.parametrize("field", ["is_staff", "is_superuser", "role", "id"])
def test_a_registration_cannot_set_privileges(field: str) -> None:
    error = refusal(register(**{field: True}), 400)

    assert (error["attr"], error["code"]) == (field, "unknown_field")
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_concurrent_registrations_of_a_name_cause_no_failed_statement() -> None:
    failed: list[Exception] = []
    barrier = Barrier(4)

    def record(execute: Any, *arguments: Any) -> Any:
        try:
            return execute(*arguments)
        except IntegrityError as error:
            failed.append(error)
            raise

    def register() -> bool:
        try:
            with connection.execute_wrapper(record):
                barrier.wait(10)
                services.create_user(username="dora", email="", password="correct horse battery")
        except Invalid:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(register) for _ in range(4)]

    assert sorted(result.result() for result in results) == [False, False, False, True]
    assert failed == []
