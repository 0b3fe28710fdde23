import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import RefreshToken
from structlog.testing import capture_logs

from accounts.models import TokenFamily, User
from accounts.tasks import purge_expired_tokens
from tests.fixtures.log_in import LogIn
from tests.support.answers import attrs, refusal
from tests.support.factories import PASSWORD

pytestmark = pytest.mark.django_db


def me(access_token: str) -> Any:
    return APIClient().get("/me", HTTP_AUTHORIZATION=f"Bearer {access_token}")


def refresh(refresh_token: str) -> Any:
    return APIClient().post("/token/refresh", {"refresh_token": refresh_token}, format="json")


def claims(response: Any) -> dict[str, Any]:
    """Return the claims of the response's refresh token."""
    return dict(RefreshToken(response.json()["refresh_token"]).payload)


def test_a_password_gets_a_pair_of_tokens(dora: User, log_in: LogIn) -> None:
    response = log_in()

    assert response.status_code == 200
    pair = response.json()
    assert set(pair) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (pair["token_type"], pair["expires_in"]) == ("bearer", 30 * 60)
    assert me(pair["access_token"]).json()["username"] == "dora"


def test_the_form_of_the_authorize_button_is_accepted(dora: User) -> None:
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

    assert refusal(response, 401)["detail"] == "The username or password is wrong."
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_deactivated_user_cannot_log_in(dora: User, log_in: LogIn) -> None:
    User.objects.update(is_active=False)

    refusal(log_in(), 401)


def test_username_and_password_are_needed() -> None:
    assert attrs(APIClient().post("/token", {})) == {"username", "password"}


def test_the_last_log_in_is_recorded(dora: User, log_in: LogIn) -> None:
    log_in()

    dora.refresh_from_db()
    assert dora.last_login is not None


@pytest.mark.parametrize("header", [None, "Bearer bad", "Bearer", "Basic ZG9yYTp4"])
def test_a_request_without_a_valid_token_is_refused(header: str | None) -> None:
    headers = {"Authorization": header} if header else {}

    response = APIClient().get("/me", headers=headers)

    refusal(response, 401)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_access_token_expires(dora: User, log_in: LogIn) -> None:
    token = log_in().json()["access_token"]
    assert me(token).status_code == 200

    with time_machine.travel(timezone.now() + timedelta(minutes=31), tick=False):
        error = refusal(me(token), 401)

    assert "expired" in error["detail"]


def test_a_refresh_token_is_not_accepted_as_an_access_token(dora: User, log_in: LogIn) -> None:
    refusal(me(log_in().json()["refresh_token"]), 401)


def test_a_changed_password_ends_all_tokens(dora: User, log_in: LogIn) -> None:
    pair = log_in().json()
    dora.set_password("another good one 7")
    dora.save()

    refusal(me(pair["access_token"]), 401)
    refusal(refresh(pair["refresh_token"]), 401)


def test_a_refresh_token_gets_a_new_pair(dora: User, log_in: LogIn) -> None:
    response = refresh(log_in().json()["refresh_token"])

    assert response.status_code == 200
    assert me(response.json()["access_token"]).status_code == 200
    assert refresh(response.json()["refresh_token"]).status_code == 200


def test_a_refresh_token_can_be_used_once(dora: User, log_in: LogIn) -> None:
    spent = log_in().json()["refresh_token"]
    refresh(spent)

    assert "already used" in refusal(refresh(spent), 401)["detail"]


def test_reusing_a_spent_refresh_token_ends_the_log_in(dora: User, log_in: LogIn) -> None:
    first = log_in().json()["refresh_token"]
    second = refresh(first).json()["refresh_token"]
    third = refresh(second).json()["refresh_token"]

    with capture_logs() as logs:
        refusal(refresh(first), 401)

    refusal(refresh(third), 401)
    assert [e["user"] for e in logs if e["event"] == "refresh_token_reused"] == ["dora"]


def test_without_a_grace_a_concurrent_second_use_is_refused(dora: User, log_in: LogIn) -> None:
    spent = log_in().json()["refresh_token"]
    before = timezone.now()
    refresh(spent)

    with time_machine.travel(before, tick=False):
        refusal(refresh(spent), 401)


def test_another_log_in_of_the_same_user_continues(dora: User, log_in: LogIn) -> None:
    stolen, other = (log_in().json()["refresh_token"] for _ in range(2))
    refresh(stolen)
    refresh(stolen)

    assert refresh(other).status_code == 200


def test_a_lost_response_is_repeated_within_the_grace(
    dora: User, log_in: LogIn, settings: Settings
) -> None:
    settings.REFRESH_TOKEN_GRACE_SECONDS = 10
    spent = log_in().json()["refresh_token"]

    lost, again = (claims(refresh(spent)) for _ in range(2))

    assert again["jti"] == lost["jti"]


@pytest.mark.parametrize("seconds", [11, 3600])
def test_after_the_grace_a_spent_token_ends_the_log_in(
    dora: User, log_in: LogIn, settings: Settings, seconds: int
) -> None:
    settings.REFRESH_TOKEN_GRACE_SECONDS = 10
    spent = log_in().json()["refresh_token"]
    good = refresh(spent).json()["refresh_token"]

    with time_machine.travel(timezone.now() + timedelta(seconds=seconds), tick=False):
        refusal(refresh(spent), 401)
        refusal(refresh(good), 401)


def test_there_is_no_grace_once_the_successor_has_been_used(
    dora: User, log_in: LogIn, settings: Settings
) -> None:
    settings.REFRESH_TOKEN_GRACE_SECONDS = 10
    spent = log_in().json()["refresh_token"]
    good = refresh(refresh(spent).json()["refresh_token"]).json()["refresh_token"]

    refusal(refresh(spent), 401)
    refusal(refresh(good), 401)


def test_a_refresh_token_of_an_earlier_release_gets_one_new_pair(dora: User) -> None:
    former = str(RefreshToken.for_user(dora))

    pair = refresh(former)

    refusal(refresh(former), 401)
    assert refresh(pair.json()["refresh_token"]).status_code == 200


def test_no_refresh_token_is_stored_in_the_database(dora: User, log_in: LogIn) -> None:
    refresh(log_in().json()["refresh_token"])

    assert TokenFamily.objects.count() == 1
    assert not OutstandingToken.objects.exists()


def test_only_expired_log_ins_are_purged(dora: User, log_in: LogIn) -> None:
    log_in()
    TokenFamily.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    log_in()

    purge_expired_tokens()

    assert TokenFamily.objects.get().expires_at > timezone.now()


def test_responses_with_tokens_are_not_cached(dora: User, log_in: LogIn) -> None:
    answer = log_in()
    again = refresh(answer.json()["refresh_token"])

    for response in (answer, again):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Pragma"] == "no-cache"


@pytest.mark.parametrize("token", ["bad", "a.b.c"])
def test_a_bad_refresh_token_is_refused(token: str) -> None:
    refusal(refresh(token), 401)


def test_an_access_token_is_not_accepted_as_a_refresh_token(dora: User, log_in: LogIn) -> None:
    refusal(refresh(log_in().json()["access_token"]), 401)


def test_a_deleted_user_gets_no_new_pair(dora: User, log_in: LogIn) -> None:
    token = log_in().json()["refresh_token"]
    User.objects.all().delete()

    refusal(refresh(token), 401)


def test_a_revoked_refresh_token_is_refused(dora: User, log_in: LogIn) -> None:
    pair = log_in().json()
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")

    first = client.post("/token/revoke", {"refresh_token": pair["refresh_token"]}, format="json")
    again = client.post("/token/revoke", {"refresh_token": pair["refresh_token"]}, format="json")

    assert (first.status_code, again.status_code) == (204, 204)
    refusal(refresh(pair["refresh_token"]), 401)


def test_revoking_a_spent_refresh_token_also_ends_the_log_in(dora: User, log_in: LogIn) -> None:
    pair = log_in().json()
    good = refresh(pair["refresh_token"]).json()["refresh_token"]
    client = APIClient(HTTP_AUTHORIZATION=f"Bearer {pair['access_token']}")

    client.post("/token/revoke", {"refresh_token": pair["refresh_token"]}, format="json")

    refusal(refresh(good), 401)


def test_me_returns_the_caller_with_memberships(dora: User, log_in: LogIn) -> None:
    body = me(log_in().json()["access_token"]).json()

    assert body == {
        "id": dora.pk,
        "username": "dora",
        "email": "dora@example.org",
        "memberships": [],
        "token": None,
    }


@pytest.mark.django_db(transaction=True)
def test_only_one_of_several_concurrent_refreshes_gets_a_pair(dora: User, log_in: LogIn) -> None:
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
