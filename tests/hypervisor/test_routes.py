"""Access to all routes, which are found automatically: strangers and anonymous callers get none."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.routes import OF_ADMINS, ROUTES, filled_in

pytestmark = pytest.mark.django_db

PUBLIC = {
    ("POST", "/register"),
    ("POST", "/token"),
    ("POST", "/token/refresh"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
}
PRIVATE = [route for route in ROUTES if route not in PUBLIC]
OF_ONE = [route for route in PRIVATE if "{" in route[1]]
ELSEWHERE = "192.0.2.7"
"""The address of a caller on another machine."""
NO_LISTS = ("/me", "/metrics", "/events", "/events/stream")
LISTS = [p for method, p in PRIVATE if method == "GET" and "{" not in p and p not in NO_LISTS]


def any_of(path: str) -> str:
    for name in ("{pk}", "{user_id}", "{cluster_id}", "{organization_id}", "{webhook_id}"):
        path = path.replace(name, "1")
    return path


def test_the_routes_are_found() -> None:
    assert set(ROUTES) > PUBLIC
    assert {path.split("/")[1] for _method, path in OF_ONE} == {
        "organizations",
        "clusters",
        "deployments",
        "arrays",
        "registries",
        "notices",
        "tokens",
        "webhooks",
    }


@pytest.mark.parametrize(("method", "path"), PRIVATE)
def test_without_a_token_every_route_is_401(method: str, path: str) -> None:
    refusal(APIClient(REMOTE_ADDR=ELSEWHERE).generic(method, any_of(path)), 401)


@pytest.mark.parametrize(("method", "path"), OF_ONE)
def test_a_stranger_gets_404_from_every_route(
    client_for: ClientFor, charlie: User, ids: dict[str, int], method: str, path: str
) -> None:
    foreign = client_for(charlie).generic(method, filled_in(path, ids), "{}", "application/json")
    nothing = path.replace("{pk}", "987654321").replace("{user_id}", "1")
    nothing = nothing.replace("{cluster_id}", "987654321").replace("{organization_id}", "987654321")
    nothing = nothing.replace("{webhook_id}", "987654321")
    absent = client_for(charlie).generic(method, nothing, "{}", "application/json")

    assert refusal(foreign, 404) == refusal(absent, 404)


@pytest.mark.parametrize("path", LISTS)
def test_the_lists_of_a_stranger_are_empty(
    client_for: ClientFor, charlie: User, ids: dict[str, int], path: str
) -> None:
    answer = client_for(charlie).get(path)

    assert answer.status_code == 200
    assert answer.json() == {"count": 0, "next": None, "previous": None, "results": []}


@pytest.mark.parametrize("path", LISTS)
def test_the_lists_of_a_member_are_not_empty(
    client_for: ClientFor, bob: User, ids: dict[str, int], path: str
) -> None:
    seen = 0 if path.startswith(OF_ADMINS) else 1
    assert client_for(bob).get(path).json()["count"] == seen


def test_a_session_of_the_admin_does_not_authenticate_api_calls(client: Client, olga: User) -> None:
    client.force_login(olga)

    for method, path in PRIVATE:
        refusal(client.generic(method, any_of(path), REMOTE_ADDR=ELSEWHERE), 401)
