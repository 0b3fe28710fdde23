"""All errors have the same format."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from orgs import services
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, refusal

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_for: ClientFor, charlie: User) -> APIClient:
    return client_for(charlie)


def problem(response: Any, status: int) -> dict[str, Any]:
    """Return the only error of a response of any type."""
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"type", "errors"})
    (error,) = body["errors"]
    assert set(error) == {"code", "detail", "attr"}
    return dict(error)


def test_an_unknown_path_is_not_found_in_the_same_format() -> None:
    error = problem(APIClient().get("/nowhere"), 404)

    assert error == {
        "code": "not_found",
        "detail": "There is nothing at /nowhere: see /docs.",
        "attr": None,
    }


@pytest.mark.parametrize("path", ["/organizations/abc", "/organizations/", "/me/"])
def test_a_path_is_exact(client: APIClient, path: str) -> None:
    problem(client.get(path), 404)


@pytest.mark.parametrize("identifier", ["0", "9" * 30])
def test_an_impossible_id_is_not_found(client: APIClient, identifier: str) -> None:
    refusal(client.get(f"/organizations/{identifier}"), 404)


@pytest.mark.parametrize("path", ["/token", "/healthz", "/register"])
def test_the_error_names_the_wrong_method(client: APIClient, path: str) -> None:
    assert problem(client.delete(path), 405)["code"] == "method_not_allowed"


def test_the_error_describes_broken_json(client: APIClient) -> None:
    response = client.post("/organizations", "{broken", content_type="application/json")

    assert problem(response, 400)["code"] == "parse_error"


def test_the_error_names_an_unsupported_content_type(client: APIClient) -> None:
    response = client.post("/organizations", "<name/>", content_type="text/xml")

    assert problem(response, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("body", [[], "text", 1, None])
def test_a_body_that_is_not_an_object_is_refused(client: APIClient, body: object) -> None:
    error = problem(client.post("/organizations", body, format="json"), 400)

    assert error["attr"] in (None, "name")


def test_the_error_names_an_unknown_field_and_lists_the_known_ones(client: APIClient) -> None:
    error = refusal(client.post("/organizations", {"nmae": "Initech"}, format="json"), 400)

    assert (error["attr"], error["code"]) == ("nmae", "unknown_field")
    assert "name" in error["detail"]


def test_all_faults_are_reported_at_once() -> None:
    response = APIClient().post("/register", {"email": "nowhere"}, format="json")

    assert attrs(response) == {"username", "password", "email"}


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("limit=abc", "limit"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("offset=-1", "offset"),
        ("offset=1.5", "offset"),
        ("ordering=password", "ordering"),
        ("ordering=name,-nothing", "ordering"),
        ("page=2", "page"),
        ("Limit=5", "Limit"),
    ],
)
def test_the_error_names_a_wrong_query_parameter(client: APIClient, query: str, attr: str) -> None:
    assert refusal(client.get(f"/organizations?{query}"), 400)["attr"] == attr


def test_a_call_that_takes_no_parameters_refuses_them(client: APIClient, charlie: User) -> None:
    organization = services.create(owner=charlie, name="Initech")

    response = client.delete(f"/organizations/{organization.pk}?dry_run=true")

    assert refusal(response, 400)["attr"] == "dry_run"
    organization.refresh_from_db()


def test_a_body_that_is_too_large_is_refused(client: APIClient, settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100

    response = client.post("/organizations", {"name": "x" * 200}, headers={"Idempotency-Key": "k"})

    error = problem(response, 413)
    assert error["code"] == "too_large"
    assert "at most 100 bytes" in error["detail"]


def test_a_server_error_reveals_nothing(client: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the password is tomato")

    monkeypatch.setattr(services, "create", fail)
    client.raise_request_exception = False

    response = client.post("/organizations", {"name": "Initech"})

    assert problem(response, 500)["detail"] == "Server Error (500)"
    assert response.json()["type"] == "server_error"
    assert "tomato" not in response.content.decode()


@contextmanager
def failing_with(sqlstate: str, table: str = "orgs_organization") -> Iterator[None]:
    """Let every insertion into the table fail with this error of PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE 'made up' USING ERRCODE = '{sqlstate}'; END $$"
        )
        cursor.execute(f"CREATE TRIGGER fails BEFORE INSERT ON {table} EXECUTE FUNCTION fail()")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER fails ON {table}")
        cursor.execute("DROP FUNCTION fail()")


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_full_disk_is_503_with_retry_after(client: APIClient, headers: dict[str, str]) -> None:
    with failing_with("53100"):
        response = client.post("/organizations", {"name": "Initech"}, headers=headers)

    assert problem(response, 503)["code"] == "database_full"
    assert response.headers["Retry-After"] == "30"
    assert "made up" not in response.content.decode()


def test_the_admin_answers_with_a_plain_page(console: Client, charlie: User) -> None:
    console.raise_request_exception = False
    with failing_with("53100"):
        form = {"name": "Initech", "owner": charlie.pk}
        response = console.post("/admin/orgs/organization/add/", form)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert response.headers["Content-Type"].startswith("text/html")
    assert "The disk of the database is full" in response.content.decode()


@pytest.mark.own_session
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_outage_outside_of_a_view_gets_the_same_response(method: str) -> None:
    """Some middlewares read the session before or after the view."""
    browser = Client(raise_request_exception=False)
    browser.cookies["sessionid"] = "x" * 32

    with closing(connections.create_connection("default")) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE accounts_browsersession")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        response = getattr(browser, method)("/admin/")
    connection.close()

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "<h1>Service Unavailable</h1>" in response.content.decode()


def test_an_error_in_a_statement_stays_a_server_error(client: APIClient) -> None:
    client.raise_request_exception = False
    with failing_with("42703"):
        response = client.post("/organizations", {"name": "Initech"})

    assert problem(response, 500)["detail"] == "Server Error (500)"
