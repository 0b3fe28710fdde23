from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import User

Browse = Callable[[User], Client]


@pytest.fixture
def browse() -> Browse:
    """Return a browser in which the user has signed in."""

    def signed_in(user: User) -> Client:
        browser = Client()
        browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
        return browser

    return signed_in
