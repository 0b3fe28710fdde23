"""Calls of the API have no session; the console's pages do."""

import pytest
from django.conf import settings
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db


def test_a_page_of_the_console_is_for_the_user_of_the_session(console: Client) -> None:
    assert console.get("/admin/").status_code == 200


def test_an_unknown_session_does_not_change_the_response_of_a_call(
    client_for: ClientFor, bob: User
) -> None:
    api: APIClient = client_for(bob)
    without = api.get("/organizations")
    api.cookies[settings.SESSION_COOKIE_NAME] = "unknown"

    response = api.get("/organizations")

    assert response.json() == without.json()
    assert not response.cookies
    assert "Cookie" not in response.headers.get("Vary", "")


def test_a_session_identifies_no_caller_of_the_api(console: Client) -> None:
    assert console.get("/organizations").status_code == 401
