"""Log lines about signing in and out."""

import logging
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.fixtures.log_in import LogIn
from tests.support.factories import PASSWORD

pytestmark = pytest.mark.django_db

SECRET = "correct horse battery 9"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Return a function with the event and the user of each line so far."""
    caplog.set_level(logging.INFO)

    def so_far() -> list[tuple[str, Any]]:
        found = [each.msg for each in caplog.records if isinstance(each.msg, dict)]
        assert SECRET not in str(found)
        return [
            (each["event"], each.get("user"))
            for each in found
            if each["logger"].startswith("accounts.")
        ]

    return so_far


def test_signing_in_and_out_is_logged(dora: User, log_in: LogIn, lines: Any) -> None:
    client = Client()
    client.post("/account/sign-in/", {"username": "dora", "password": PASSWORD})
    client.post("/account/sign-out/")
    log_in()

    assert lines() == [("signed_in", "dora"), ("signed_out", "dora"), ("signed_in", "dora")]


def test_a_failure_is_logged_without_what_may_be_a_password(
    dora: User, log_in: LogIn, lines: Any
) -> None:
    log_in(password=SECRET)
    log_in(username=SECRET)

    assert lines() == [("sign_in_failed", "dora"), ("sign_in_failed", None)]


def test_a_lock_out_is_logged(dora: User, log_in: LogIn, lines: Any, settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 1
    log_in(password=SECRET)

    assert ("locked_out", "dora") in lines()
