"""What every request gets: an id, `Cache-Control`, and its lines in the log."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware
from django_structlog.signals import bind_extra_request_finished_metadata
from structlog.contextvars import bind_contextvars

from accounts.lockout import client_address

GetResponse = Callable[[HttpRequest], HttpResponse]

REQUEST_ID = "X-Request-ID"
_SECRET = re.compile(
    r"^(/account/reset/[^/]+/(?!set-password/)|/account/verify/|/account/provider/callback/\?"
    r"|/my/notices/unsubscribe/).+"
)
"""The paths of mailed links, and the response of a provider."""
_CODE = re.compile(
    r"((?:/my/organizations/join/|/account/register/)(?:\?|%3F)\S*?code(?:=|%3D))[^&%]+",
    re.IGNORECASE,
)
"""An invite code, also within the `next` of the page to sign in."""

_GOOD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RequestIdMiddleware:
    """Adds the id that the request has in the logs and the audit trail to the response.

    The caller may choose the id: up to 64 letters, digits, dots, hyphens and underscores. Any other
    text is replaced, because the id is written into logs.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _GOOD_ID.fullmatch(given) else str(uuid4())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response.headers[REQUEST_ID] = request_id
        return response


class NoStoreMiddleware:
    """Forbids caches to keep a response, because it may contain a token or an invite code.

    Static files are served by a middleware before this one.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class LogMiddleware(RequestMiddleware):
    """Logs each request when it ends, with the caller's address as the rate limits see it."""

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        bind_contextvars(ip=client_address(request))

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """Return the request for the log, without what gives access as somebody."""
        path = _SECRET.sub(r"\g<1>***", request.get_full_path())
        path = _CODE.sub(r"\g<1>***", path)
        return f"{request.method} {path}"


@receiver(bind_extra_request_finished_metadata)
def _add_user_agent(request: HttpRequest, log_kwargs: dict[str, Any], **_: object) -> None:
    log_kwargs["user_agent"] = request.META.get("HTTP_USER_AGENT")
