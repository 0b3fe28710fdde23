"""The callbacks of django-axes, which locks out callers who guess passwords."""

import math
from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from rest_framework.throttling import BaseThrottle

from accounts.models import User
from hypervisor.base.names import normalized

_LONGEST = 255
"""How much of a name is stored with a failure. A spelling may get longer when it is normalized."""

DETAIL = "Too many wrong passwords for this user from this address: try again later."


def client_address(request: Any) -> str | None:
    """Return the caller's address as the rate limits see it; a forged header is ignored.

    None if there is no address, for example behind a unix socket.
    """
    return BaseThrottle().get_ident(request) or None


def username(request: Any, credentials: Mapping[str, str] | None) -> str | None:
    """Return the attempted username, normalized so that all its spellings count together.

    A user's verified address is one of them.
    """
    given = (credentials or request.POST).get("username")
    if not given:
        return None
    user = User.objects.with_address(given) if "@" in given else None
    return normalized(user.username if user else given).lower()[:_LONGEST]


def seconds_left(name: str | None, address: str | None) -> int:
    """Return how many seconds the lock-out still lasts, at least 1."""
    attempts = AccessAttempt.objects.filter(username=name, ip_address=address)
    last = attempts.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    left = settings.AXES_COOLOFF_TIME - (timezone.now() - last)
    return max(1, math.ceil(left.total_seconds()))


def answer(
    request: HttpRequest, original: HttpResponse, credentials: Mapping[str, str]
) -> HttpResponse:
    """Return the 429 for a caller who is locked out: as a page, or as an error of the API."""
    left = seconds_left(username(request, credentials), client_address(request))
    if original.headers.get("Content-Type", "").startswith("text/html"):
        return wait_page(request, DETAIL, left)
    errors = [{"code": "throttled", "detail": DETAIL, "attr": None}]
    body = {"type": "client_error", "errors": errors}
    return JsonResponse(body, status=429, headers={"Retry-After": str(left)})


def wait_page(request: HttpRequest, detail: str, seconds: int) -> HttpResponse:
    """Return a 429 page with the reason for the wait and its length.

    The members' pages have its template, because they have the frame.
    """
    minutes = math.ceil(seconds / 60)
    wait = f"{seconds} seconds" if seconds < 100 else f"{minutes} minutes"
    context = {"detail": detail, "wait": wait, "title": "Please wait"}
    page = render(request, "accounts/wait.html", context, status=429)
    page.headers["Retry-After"] = str(seconds)
    return page
