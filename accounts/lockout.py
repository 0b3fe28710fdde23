"""What django-axes, which locks out those who guess passwords, asks of us."""

import math
from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import admin
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from rest_framework.throttling import BaseThrottle

from hypervisor.base.names import normalized

DETAIL = "Too many wrong passwords for this user from this address: try again later."


def client_address(request: Any) -> str | None:
    """Return the caller's address, as the rate limits see it; a forged header does not count.

    None where there is no address, as behind a socket of the file system.
    """
    return BaseThrottle().get_ident(request) or None


def username(request: Any, credentials: Mapping[str, str] | None) -> str | None:
    """Return the name that is tried, the same however it is written: it is counted together."""
    given = (credentials or request.POST).get("username")
    return normalized(given).lower() if given else None


def seconds_left(name: str | None, address: str | None) -> int:
    """Return how long the lock-out lasts from now on."""
    attempts = AccessAttempt.objects.filter(username=name, ip_address=address)
    last = attempts.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    left = settings.AXES_COOLOFF_TIME - (timezone.now() - last)
    return max(1, math.ceil(left.total_seconds()))


def answer(
    request: HttpRequest, original: HttpResponse, credentials: Mapping[str, str]
) -> HttpResponse:
    """Answer somebody who is locked out: 429, as a page or in the shape of the API."""
    left = seconds_left(username(request, credentials), client_address(request))
    if original.headers.get("Content-Type", "").startswith("text/html"):
        return wait_page(request, DETAIL, left)
    errors = [{"code": "throttled", "detail": DETAIL, "attr": None}]
    body = {"type": "client_error", "errors": errors}
    return JsonResponse(body, status=429, headers={"Retry-After": str(left)})


def wait_page(request: HttpRequest, detail: str, seconds: int) -> HttpResponse:
    """Return a page of the admin that says why one has to wait, and how long: 429."""
    minutes = math.ceil(seconds / 60)
    wait = f"{seconds} seconds" if seconds < 100 else f"{minutes} minutes"
    context = {**admin.site.each_context(request), "detail": detail, "wait": wait, "title": "Wait"}
    page = render(request, "accounts/locked_out.html", context, status=429)
    page.headers["Retry-After"] = str(seconds)
    return page
