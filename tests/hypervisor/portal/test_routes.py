"""Access to all members' pages, which are found automatically."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver

from accounts.models import User
from hypervisor.portal import urls
from tests.hypervisor.portal.conftest import Browse

PUBLIC = ("/my/notices/unsubscribe/<str:token>/",)
"""Pages that need no sign-in, because a link in a mail leads to them."""

_OF = {
    "arrays": "arrays",
    "clusters": "clusters",
    "deployments": "deployments",
    "nodes": "nodes",
    "notices": "notices",
    "registries": "registries",
    "tokens": "tokens",
    "webhooks": "webhooks",
}
"""The kind of row that `<int:pk>` names, by the part of the path before it."""


def routes(patterns: Any, prefix: str = "/") -> Iterator[str]:
    for each in patterns:
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, path)
        elif isinstance(each, URLPattern):
            yield path


ROUTES = [path for path in routes(urls.urlpatterns) if path not in PUBLIC]
OF_ONE = [path for path in ROUTES if "<" in path]


def filled_in(path: str, ids: dict[str, int]) -> Iterator[str]:
    """Yield the path with the ids of Acme's rows; with an action, once for a few of them."""
    path = path.replace("<int:organization_id>", str(ids["organizations"]))
    path = path.replace("<int:user_id>", str(ids["user"]))
    path = re.sub(r"(\w+)/<int:pk>", lambda m: f"{m[1]}/{ids[_OF[m[1]]]}", path)
    for action in ("stop", "cordon", "cordon_node"):
        yield path.replace("<slug:action>", action)
        if "<slug:action>" not in path:
            return


def test_the_routes_are_found() -> None:
    assert "/" in ROUTES
    assert "/my/deployments/<int:pk>/<slug:action>/" in OF_ONE
    assert "/my/organizations/<int:organization_id>/members/" in OF_ONE


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_sign_in_each_page_leads_there(ids: dict[str, int], path: str) -> None:
    client = Client(headers={"Accept": "text/html"})
    for address in filled_in(path, ids):
        for response in (client.get(address), client.post(address)):
            assert response.status_code == 302
            assert response["Location"].startswith("/account/sign-in/?next=")


@pytest.mark.parametrize("path", OF_ONE)
def test_a_stranger_gets_404_from_each_page(
    browse: Browse, charlie: User, ids: dict[str, int], path: str
) -> None:
    browser = browse(charlie)
    for address in filled_in(path, ids):
        for response in (browser.get(address), browser.post(address)):
            assert response.status_code == 404, address


@pytest.mark.parametrize("value", ["\0", "x", "9" * 30, "-1", "\N{ARABIC-INDIC DIGIT ONE}"])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/", ("whose", "organization", "status", "q", "label", "array", "after", "before")),
        ("/my/queue/", ("group", "code", "q", "page")),
        ("/my/submit/", ("like",)),
        ("/my/deployments/<int:pk>/", ("events",)),
        ("/my/deployments/<int:pk>/logs/", ("run", "tail")),
        ("/my/deployments/<int:pk>/reprioritize/", ("priority",)),
    ],
)
def test_an_odd_query_is_no_failure(
    browse: Browse, bob: User, ids: dict[str, int], path: str, names: tuple[str, ...], value: str
) -> None:
    browser = browse(bob)
    (address,) = filled_in(path, ids)

    for name in names:
        assert browser.get(address, {name: value}).status_code == 200, name
