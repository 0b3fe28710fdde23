"""What django-axes, which locks out those who guess passwords, asks of us."""

import math
from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework.throttling import BaseThrottle

DETAIL = "Too many wrong passwords for this user from this address: try again later."


def client_address(request: Any) -> str | None:
    """Return the caller's address, as the rate limits see it; a forged header does not count.

    None where there is no address, as behind a socket of the file system.
    """
    return BaseThrottle().get_ident(request) or None


def seconds_left(username: str | None, address: str | None) -> int:
    """Return how long the lock-out lasts from now on."""
    attempts = AccessAttempt.objects.filter(username=username, ip_address=address)
    last = attempts.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    left = settings.AXES_COOLOFF_TIME - (timezone.now() - last)
    return max(1, math.ceil(left.total_seconds()))


def answer(
    request: HttpRequest, original: HttpResponse, credentials: Mapping[str, str]
) -> HttpResponse:
    """Answer somebody who is locked out: 429, in the words of the page or of the API."""
    response: HttpResponse
    if original.headers.get("Content-Type", "").startswith("text/html"):
        response = HttpResponse(DETAIL, content_type="text/plain; charset=utf-8")
    else:
        errors = [{"code": "throttled", "detail": DETAIL, "attr": None}]
        response = JsonResponse({"type": "client_error", "errors": errors})
    response.status_code = 429
    left = seconds_left(credentials.get("username"), client_address(request))
    response.headers["Retry-After"] = str(left)
    return response
