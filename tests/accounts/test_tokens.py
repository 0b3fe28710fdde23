import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from tests.accounts.conftest import LogIn
from tests.answers import attrs, refusal
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


def me(access_token: str) -> Any:
    return APIClient().get("/me", HTTP_AUTHORIZATION=f"Bearer {access_token}")


def refresh(refresh_token: str) -> Any:
    return APIClient().post("/token/refresh", {"refresh_token": refresh_token}, format="json")


def test_a_password_is_worth_a_pair_of_tokens(dora: User, log_in: LogIn) -> None:
    response = log_in()

    assert response.status_code == 200
    pair = response.json()
    assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 30 * 60)
    assert me(pair["access_token"]).json()["username"] == "dora"


def test_the_authorize_button_s_form_is_understood(dora: User) -> None:
    form = {
        "grant_type": "password",
        "username": "dora",
        "password": PASSWORD,
        "scope": "",
        "client_id": "",
    }

    response = APIClient().post(
        "/token",
        "&".join(f"{name}={value}" for name, value in form.items()),
        content_type="application/x-www-form-urlencoded",
        HTTP_AUTHORIZATION="Basic Og==",
    )

    assert response.status_code == 200


@pytest.mark.parametrize(("username", "password"), [("dora", "wrong"), ("nobody", PASSWORD)])
def test_a_wrong_password_and_an_unknown_user_look_the_same(
    dora: User, log_in: LogIn, username: str, password: str
) -> None:
    response = log_in(username, password)

    assert refusal(response, 401)["detail"] == "Username or password is wrong."
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_who_was_deactivated_cannot_log_in(dora: User, log_in: LogIn) -> None:
    User.objects.update(is_active=False)

    refusal(log_in(), 401)


def test_username_and_password_are_needed() -> None:
    assert attrs(APIClient().post("/token", {})) == {"username", "password"}


def test_logging_in_is_remembered(dora: User, log_in: LogIn) -> None:
    log_in()

    dora.refresh_from_db()
    assert dora.last_login is not None


@pytest.mark.parametrize("header", [None, "Bearer bad", "Bearer", "Basic ZG9yYTp4"])
def test_without_a_good_token_nothing_is_told(header: str | None) -> None:
    headers = {"Authorization": header} if header else {}

    response = APIClient().get("/me", headers=headers)

    refusal(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_access_token_expires(dora: User, log_in: LogIn) -> None:
    token = log_in().json()["access_token"]

    with time_machine.travel(timezone.now() + timedelta(minutes=31), tick=False):
        error = refusal(me(token), 401)

    assert "expired" in error["detail"]


def test_a_refresh_token_is_no_access_token(dora: User, log_in: LogIn) -> None:
    refusal(me(log_in().json()["refresh_token"]), 401)


def test_a_changed_password_ends_all_tokens(dora: User, log_in: LogIn) -> None:
    pair = log_in().json()
    dora.set_password("another good one 7")
    dora.save()

    refusal(me(pair["access_token"]), 401)
    refusal(refresh(pair["refresh_token"]), 401)


def test_a_refresh_token_is_worth_a_new_pair(dora: User, log_in: LogIn) -> None:
    response = refresh(log_in().json()["refresh_token"])

    assert response.status_code == 200
    assert me(response.json()["access_token"]).status_code == 200
    assert refresh(response.json()["refresh_token"]).status_code == 200


def test_a_refresh_token_is_spent_by_its_use(dora: User, log_in: LogIn) -> None:
    spent = log_in().json()["refresh_token"]
    refresh(spent)

    assert "spent" in refusal(refresh(spent), 401)["detail"]


@pytest.mark.parametrize("token", ["bad", "a.b.c"])
def test_a_bad_refresh_token_is_refused(token: str) -> None:
    refusal(refresh(token), 401)


def test_an_access_token_is_no_refresh_token(dora: User, log_in: LogIn) -> None:
    refusal(refresh(log_in().json()["access_token"]), 401)


def test_who_was_deleted_gets_no_new_pair(dora: User, log_in: LogIn) -> None:
    token = log_in().json()["refresh_token"]
    User.objects.all().delete()

    refusal(refresh(token), 401)


def test_a_revoked_refresh_token_is_worth_nothing(dora: User, log_in: LogIn) -> None:
    pair = log_in().json()
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")

    first = client.post("/token/revoke", {"refresh_token": pair["refresh_token"]}, format="json")
    again = client.post("/token/revoke", {"refresh_token": pair["refresh_token"]}, format="json")

    assert (first.status_code, again.status_code) == (204, 204)
    refusal(refresh(pair["refresh_token"]), 401)


def test_me_tells_where_the_caller_belongs(dora: User, log_in: LogIn) -> None:
    body = me(log_in().json()["access_token"]).json()

    assert body == {
        "id": dora.pk,
        "username": "dora",
        "email": "dora@example.org",
        "memberships": [],
    }


@pytest.mark.django_db(transaction=True)
def test_of_two_who_refresh_at_once_one_gets_a_pair(dora: User, log_in: LogIn) -> None:
    token = log_in().json()["refresh_token"]
    start = threading.Barrier(4)
    statuses: list[int] = []

    def call() -> None:
        start.wait()
        statuses.append(refresh(token).status_code)
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 401, 401, 401]
