"""The routes of all pages, from the URL configuration."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver

from hypervisor.pages import is_page


def page_routes() -> set[str]:
    """Return the routes at which a browser shows a page, such as `/admin/cluster/<int:pk>/`."""
    return {route for route in _routes(get_resolver().url_patterns, "/") if is_page(route)}


def _routes(patterns: list[Any], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from _routes(pattern.url_patterns, route)
