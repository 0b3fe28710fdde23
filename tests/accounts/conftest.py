from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.throttles import ScopedThrottle
from tests.support.factories import PASSWORD, UserFactory

LogIn = Callable[..., Any]


@pytest.fixture(autouse=True)
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The rate limits by scope, of which there are none until a test sets one."""
    limits: dict[str, str | None] = dict.fromkeys(("register", "token", "join"))
    monkeypatch.setattr(ScopedThrottle, "THROTTLE_RATES", limits)
    return limits


@pytest.fixture
def dora(db: None) -> User:
    """Somebody who logs in with PASSWORD."""
    user: User = UserFactory(username="dora")
    return user


@pytest.fixture
def log_in() -> LogIn:
    """Ask for tokens and return the answer."""

    def post(username: str = "dora", password: str = PASSWORD, **extra: Any) -> Any:
        body = {"username": username, "password": password}
        return APIClient().post("/token", body, format="json", **extra)

    return post
