"""Rate limits, and lock-outs after wrong passwords."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings
from rest_framework.request import Request
from rest_framework.test import APIClient

from accounts import throttles
from accounts.models import User
from accounts.throttles import ScopedThrottle
from tests.fixtures.log_in import LogIn
from tests.fixtures.people import ClientFor
from tests.fixtures.rates import Rates
from tests.support.factories import PASSWORD

pytestmark = pytest.mark.django_db


def register(name: str, address: str) -> Any:
    body = {"username": name, "password": PASSWORD}
    return APIClient(REMOTE_ADDR=address).post("/register", body, format="json")


def assert_has_to_wait(response: Any, at_most: int) -> None:
    assert response.status_code == 429
    assert response.json()["type"] == "client_error"
    assert response.json()["errors"][0]["code"] == "throttled"
    assert 0 < int(response.headers["Retry-After"]) <= at_most


def test_registrations_from_one_address_are_limited(rates: Rates) -> None:
    rates["register"] = "1/hour"
    register("one", "192.0.2.1")

    assert_has_to_wait(register("two", "192.0.2.1"), 3600)
    assert register("three", "192.0.2.2").status_code == 201


def test_log_ins_from_one_address_are_limited(dora: User, log_in: LogIn, rates: Rates) -> None:
    rates["token"] = "1/min"
    log_in(REMOTE_ADDR="192.0.2.3")

    assert_has_to_wait(log_in(REMOTE_ADDR="192.0.2.3"), 60)


def test_invite_codes_that_one_user_tries_are_limited(
    client_for: ClientFor, charlie: User, rates: Rates
) -> None:
    rates["join"] = "1/hour"
    client = client_for(charlie)
    client.post("/join-organization", {"invite_code": "wrong"})

    assert_has_to_wait(client.post("/join-organization", {"invite_code": "wrong"}), 3600)


def test_a_forged_address_is_ignored(rates: Rates, dora: User, log_in: LogIn) -> None:
    rates["token"] = "1/min"
    log_in(REMOTE_ADDR="192.0.2.4", HTTP_X_FORWARDED_FOR="198.51.100.1")

    again = log_in(REMOTE_ADDR="192.0.2.4", HTTP_X_FORWARDED_FOR="198.51.100.2")

    assert_has_to_wait(again, 60)


def test_users_can_log_in_without_the_cache(
    dora: User, log_in: LogIn, rates: Rates, settings: Settings
) -> None:
    rates["token"] = "1/min"
    cache = settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {"default": cache}

    assert [log_in().status_code, log_in().status_code] == [200, 200]


@pytest.fixture
def guessed(dora: User, log_in: LogIn, settings: Settings) -> int:
    """Lock dora out at 192.0.2.5 with wrong passwords; return how many it took."""
    for count in range(1, settings.AXES_FAILURE_LIMIT + 1):
        response = log_in(password="wrong", REMOTE_ADDR="192.0.2.5")
        if response.status_code == 429:
            return count
    raise AssertionError("no wrong password led to a lock-out")


def test_guessing_passwords_leads_to_a_lock_out(
    guessed: int, log_in: LogIn, settings: Settings
) -> None:
    assert guessed == settings.AXES_FAILURE_LIMIT
    assert_has_to_wait(log_in(REMOTE_ADDR="192.0.2.5"), 15 * 60)


def test_a_lock_out_is_for_one_address(guessed: int, log_in: LogIn) -> None:
    assert log_in(REMOTE_ADDR="192.0.2.6").status_code == 200


def test_a_lock_out_counts_down_and_ends(guessed: int, log_in: LogIn) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=10), tick=False):
        assert_has_to_wait(log_in(REMOTE_ADDR="192.0.2.5"), 5 * 60)
    with time_machine.travel(timezone.now() + timedelta(minutes=16), tick=False):
        assert log_in(REMOTE_ADDR="192.0.2.5").status_code == 200


def test_the_right_password_resets_the_count_of_wrong_ones(
    dora: User, log_in: LogIn, settings: Settings
) -> None:
    for _ in range(2):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            log_in(password="wrong")
        assert log_in().status_code == 200


def sign_in(username: str, address: str, password: str = PASSWORD) -> Any:
    form = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address).post("/account/sign-in/", form)


def assert_page_has_to_wait(response: Any, at_most: int) -> None:
    assert response.status_code == 429
    assert response.headers["Content-Type"].startswith("text/html")
    assert "try again" in response.content.decode()
    assert 0 < int(response.headers["Retry-After"]) <= at_most


def test_the_page_to_sign_in_is_locked_too(guessed: int) -> None:
    page = sign_in("dora", "192.0.2.5")

    assert_page_has_to_wait(page, 15 * 60)
    assert "wrong passwords" in page.content.decode()


def test_sign_ins_from_one_address_are_limited_for_all_users_together(
    rates: Rates,
) -> None:
    rates["token"] = "2/min"
    tried = [sign_in(f"user-{n}", "192.0.2.7", "guess").status_code for n in range(2)]

    assert tried == [200, 200]
    assert_page_has_to_wait(sign_in("user-3", "192.0.2.7", "guess"), 60)
    assert sign_in("user-3", "192.0.2.8", "guess").status_code == 200


def test_sign_ins_and_the_api_s_log_ins_count_together(
    dora: User, log_in: LogIn, rates: Rates
) -> None:
    rates["token"] = "1/min"
    sign_in("dora", "192.0.2.9")

    assert_has_to_wait(log_in(REMOTE_ADDR="192.0.2.9"), 60)


def test_the_page_to_sign_in_is_shown_without_limit(rates: Rates) -> None:
    rates["token"] = "1/min"

    pages = [Client(REMOTE_ADDR="192.0.2.10").get("/account/sign-in/") for _ in range(3)]

    assert [page.status_code for page in pages] == [200] * 3


def test_concurrent_requests_are_counted_individually(rates: Rates, db: None) -> None:
    rates["token"] = "5/min"
    start = threading.Barrier(16)
    request = Request(RequestFactory(REMOTE_ADDR="192.0.2.11").post("/token"))

    def ask() -> bool:
        start.wait()
        return ScopedThrottle().allow_request(request, throttles.LogIn())

    with ThreadPoolExecutor(16) as pool:
        allowed = [future.result() for future in [pool.submit(ask) for _ in range(16)]]

    assert sum(allowed) == 5
