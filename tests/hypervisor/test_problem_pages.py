"""A browser that asks for a page gets a page, whatever goes wrong; the API answers in JSON."""

import pytest
from django.http import HttpRequest
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from hypervisor.console.pages.queue import QueuePage
from orgs.models import Organization

pytestmark = pytest.mark.django_db

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def page(response: object) -> str:
    """Return the text of a response that is a page with a way on."""
    assert response.headers["Content-Type"].startswith("text/html")  # type: ignore[attr-defined]
    text: str = response.content.decode()  # type: ignore[attr-defined]
    assert "<main" in text
    assert 'aria-label="Where to go"' in text
    return text


@pytest.mark.parametrize("path", ["/admin/nowhere/", "/my/nowhere/", "/account/nowhere/"])
def test_an_unknown_page_is_a_page_for_every_caller(console: Client, path: str) -> None:
    response = console.get(path)

    assert response.status_code == 404
    assert "There is no such page" in page(response)


def test_the_problem_of_an_operator_leads_to_the_dashboard(console: Client) -> None:
    assert 'href="/admin/"' in page(console.get("/admin/nowhere/"))
    assert 'href="/admin/"' not in page(console.get("/my/nowhere/"))


def test_an_unknown_path_is_a_page_only_for_a_browser(client: Client) -> None:
    assert "There is no such page" in page(client.get("/nowhere", headers=BROWSER))
    for accepted in ("*/*", "application/json", "application/json, text/html"):
        response = client.get("/nowhere", headers={"Accept": accepted})
        assert response.json()["errors"][0]["code"] == "not_found"


def test_a_missing_permission_is_a_page(bob: User, acme: Organization, client: Client) -> None:
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    client.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")

    response = client.get("/admin/queue/")

    assert response.status_code == 403
    assert "You may not open this page" in page(response)


def test_a_form_without_its_token_is_a_page_that_says_what_to_do(olga: User) -> None:
    response = Client(enforce_csrf_checks=True).post("/account/sign-in/", {"username": "olga"})

    assert response.status_code == 403
    assert "reload the page" in page(response)


def test_a_form_from_a_foreign_origin_names_the_setting() -> None:
    browser = Client(enforce_csrf_checks=True)

    response = browser.post("/account/sign-in/", headers={"Origin": "https://elsewhere.example"})

    assert "CSRF_TRUSTED_ORIGINS" in page(response)


def test_an_unknown_host_is_a_page() -> None:
    response = Client(headers={"Host": "unknown.example"}).get("/account/sign-in/")

    assert response.status_code == 400
    assert "cannot be understood" in page(response)


def test_a_refused_method_is_a_page_that_keeps_the_allowed_ones(console: Client) -> None:
    response = console.delete("/admin/queue/")

    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert "cannot be used like this" in page(response)


def test_a_failure_is_a_page_with_the_id_of_the_request(
    console: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def fail(self: QueuePage, request: HttpRequest) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(QueuePage, "get", fail)
    console.raise_request_exception = False

    response = console.get("/admin/queue/", headers={"X-Request-ID": "the-one"})

    assert response.status_code == 500
    text = page(response)
    assert "the-one" in text
    assert "broken" not in text
