"""What django-axes, which locks out those who guess passwords, asks of us."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.throttling import BaseThrottle

DETAIL = "Too many wrong passwords for this user from this address: try again later."


def client_address(request: Any) -> str:
    """Return the caller's address, as the rate limits see it; a forged header does not count."""
    return str(BaseThrottle().get_ident(request))


def seconds() -> int:
    """Return how long a lock-out lasts."""
    return int(settings.AXES_COOLOFF_TIME.total_seconds())


def answer(request: HttpRequest, original: HttpResponse, credentials: Any = None) -> HttpResponse:
    """Answer somebody who is locked out: 429, in the words of the page or of the API."""
    response: HttpResponse
    if original.headers.get("Content-Type", "").startswith("text/html"):
        response = HttpResponse(DETAIL, content_type="text/plain; charset=utf-8")
    else:
        errors = [{"code": "throttled", "detail": DETAIL, "attr": None}]
        response = JsonResponse({"type": "client_error", "errors": errors})
    response.status_code = 429
    response.headers["Retry-After"] = str(seconds())
    return response
