"""Which paths are pages for people, and middleware that only pages need: a call of the API has no
session.
"""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

from accounts.lockout import client_address

OPERATORS = "/admin"
_PREFIXES = (OPERATORS, "/my/", "/account/")


def is_page(path: str) -> bool:
    """Return whether a browser shows what is at the path; elsewhere are the API and the docs."""
    return path == "/" or path.startswith(_PREFIXES)


class _OfPages:
    """A middleware whose `process_request` is only for pages."""

    def process_request(self, request: HttpRequest) -> Any:
        if is_page(request.path):
            return super().process_request(request)  # type: ignore[misc]
        return None


class PageSessionMiddleware(_OfPages, SessionMiddleware):
    """Lets the session know from where it is used."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if is_page(request.path):
            session: Any = request.session
            session.address = client_address(request)
            session.browser = request.headers.get("User-Agent", "")[:300]


class PageAuthenticationMiddleware(_OfPages, AuthenticationMiddleware):
    pass


class PageMessageMiddleware(_OfPages, MessageMiddleware):
    pass
