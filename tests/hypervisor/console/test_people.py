import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from accounts.models import User
from tests.fixtures.log_in import LogIn
from tests.support.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def page(user: User, verb: str = "change") -> str:
    return reverse(f"admin:accounts_user_{verb}", args=[user.pk])


def test_an_operator_adds_a_user_who_can_log_in(console: Client, log_in: LogIn) -> None:
    form = {
        "username": "erin", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD,
    }  # fmt: skip

    response = console.post(reverse("admin:accounts_user_add"), form)

    assert response.status_code == 302
    assert log_in("erin").status_code == 200


def test_a_weak_password_is_refused_in_the_admin_too(console: Client) -> None:
    form = {
        "username": "erin", "usable_password": "true", "password1": "1234", "password2": "1234",
    }  # fmt: skip

    assert console.post(reverse("admin:accounts_user_add"), form).status_code == 200
    assert not User.objects.filter(username="erin").exists()


def test_a_name_that_differs_only_in_case_is_refused_in_the_admin_too(
    console: Client, alice: User
) -> None:
    form = {
        "username": "ALICE", "usable_password": "true", "password1": PASSWORD,
        "password2": PASSWORD,
    }  # fmt: skip

    response = console.post(reverse("admin:accounts_user_add"), form)

    assert response.status_code == 200
    assert "already exists" in response.content.decode()


def test_a_deactivated_user_is_logged_out_at_once(
    console: Client, dora: User, log_in: LogIn
) -> None:
    pair = log_in().json()
    joined = dora.date_joined

    response = console.post(page(dora), {"email": dora.email})  # the box `is_active` is not ticked

    assert response.status_code == 302
    dora.refresh_from_db()
    assert (dora.is_active, dora.username, dora.date_joined) == (False, "dora", joined)
    api = APIClient(headers={"Authorization": f"Bearer {pair['access_token']}"})
    assert api.get("/me").status_code == 401
    body = {"refresh_token": pair["refresh_token"]}
    assert APIClient().post("/token/refresh", body).status_code == 401


def test_a_user_is_never_renamed_or_deleted(console: Client, dora: User) -> None:
    console.post(page(dora), {"username": "doris", "email": dora.email, "is_active": "on"})
    dora.refresh_from_db()

    assert dora.username == "dora"
    assert console.post(page(dora, "delete"), {"post": "yes"}).status_code == 403


def test_the_list_finds_users_by_name_and_email(console: Client, dora: User) -> None:
    UserFactory()
    url = reverse("admin:accounts_user_changelist")

    for text in ("dor", "dora@example"):
        assert list(console.get(url, {"q": text}).context["cl"].result_list) == [dora]
