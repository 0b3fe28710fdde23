"""Headers of every response."""

import logging

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.models import AuditEntry, User
from hypervisor.headers import LogMiddleware
from orgs.models import Organization
from tests.fixtures.people import ClientFor

pytestmark = pytest.mark.django_db

GOOD = ["a", "req-1", "7b0e.42_x-Y", "x" * 64]
BAD = ["", "x" * 65, "two words", "new\nline", "tab\t", "a{b}", "<b>", "-leading", "ä", "\x1b[31m"]


@pytest.mark.parametrize("given", GOOD)
def test_a_request_id_from_the_caller_is_kept(given: str) -> None:
    assert Client().get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize("given", BAD)
def test_a_request_id_that_could_forge_log_lines_is_replaced(given: str) -> None:
    answer = Client().get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"]

    assert answer != given
    assert len(answer) == 36


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/me", "/account/sign-in/", "/docs"])
def test_every_response_has_its_own_request_id(path: str) -> None:
    first, second = (Client().get(path)["X-Request-ID"] for _ in range(2))

    assert len({first, second}) == 2


def test_the_logs_and_the_audit_trail_have_the_same_id(console: Client, alice: User) -> None:
    page = reverse("admin:accounts_user_change", args=[alice.pk])

    answer = console.post(page, {"email": "new@example.org", "is_active": "on"})

    assert AuditEntry.objects.latest("pk").request_id == answer["X-Request-ID"]


def test_no_cache_may_store_an_invite_code(
    alice: User, acme: Organization, client_for: ClientFor
) -> None:
    client = client_for(alice)

    for response in (
        client.get("/organizations"),
        client.get(f"/organizations/{acme.pk}"),
        client.post("/organizations", {"name": "Initech"}),
        client.post(f"/organizations/{acme.pk}/regenerate-invite"),
    ):
        assert response.headers["Cache-Control"] == "no-store"


def test_a_request_has_one_line_in_the_log_which_says_all(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    client.get("/readyz", headers={"user-agent": "curl/8", "x-request-id": "mine"})

    (line,) = (r.msg for r in caplog.records if r.name == "django_structlog.middlewares.request")
    assert isinstance(line, dict)
    assert line["event"] == "request_finished"
    assert line["request"] == "GET /readyz"
    assert (line["code"], line["ip"]) == (200, "127.0.0.1")
    assert (line["user_agent"], line["request_id"]) == ("curl/8", "mine")


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/account/reset/MQ/token-x/", "/account/reset/MQ/***"),
        ("/account/reset/MQ/set-password/", "/account/reset/MQ/set-password/"),
        ("/account/verify/signed:link/", "/account/verify/***"),
        ("/account/provider/callback/?code=x&state=y", "/account/provider/callback/?***"),
        ("/my/notices/unsubscribe/signed:link/", "/my/notices/unsubscribe/***"),
        ("/my/organizations/join/?code=x1&a=b", "/my/organizations/join/?code=***&a=b"),
        ("/account/register/?invite_code=x1", "/account/register/?invite_code=***"),
        (
            "/account/sign-in/?next=/my/organizations/join/%3Fcode%3Dx1&a=b",
            "/account/sign-in/?next=/my/organizations/join/%3Fcode%3D***&a=b",
        ),
        ("/my/queue/?code=cpu", "/my/queue/?code=cpu"),
        ("/deployments?status=running", "/deployments?status=running"),
    ],
)
def test_the_log_has_no_link_that_gives_access(path: str, logged: str) -> None:
    assert LogMiddleware.format_request(RequestFactory().get(path)) == f"GET {logged}"
