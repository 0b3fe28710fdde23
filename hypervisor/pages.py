"""Middleware that only the console's pages need; a call of the API has no session."""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

ROOT = "/admin"


class _OfPages:
    """A middleware whose `process_request` is only for pages."""

    def process_request(self, request: HttpRequest) -> Any:
        if request.path.startswith(ROOT):
            return super().process_request(request)  # type: ignore[misc]
        return None


class PageSessionMiddleware(_OfPages, SessionMiddleware):
    pass


class PageAuthenticationMiddleware(_OfPages, AuthenticationMiddleware):
    pass


class PageMessageMiddleware(_OfPages, MessageMiddleware):
    pass
