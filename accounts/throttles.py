"""Limits on what can be guessed or flooded."""

import math
from collections.abc import Callable
from functools import wraps

import structlog
from django.http import HttpRequest, HttpResponse
from redis import RedisError
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from accounts.lockout import wait_page

log = structlog.get_logger(__name__)


class ScopedThrottle(ScopedRateThrottle):
    """Counts in the cache by user, or by address; while the cache is away it lets calls through.

    A service that nobody can log in to would be worse than one that counts nothing for a while.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError:
            log.warning("throttle_without_cache", path=request.path)
            return True


class LogIn(APIView):
    """The scope in which log-ins are counted, by `/token` and by the admin's page together."""

    throttle_scope = "token"


def limit_log_ins(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let the page's forms count as log-ins: too many from one address have to wait."""

    @wraps(view)
    def limited(request: HttpRequest) -> HttpResponse:
        throttle = ScopedThrottle()
        if request.method == "POST" and not throttle.allow_request(Request(request), LogIn()):
            detail = "Too many log-ins from this address: try again later."
            return wait_page(request, detail, math.ceil(throttle.wait() or 1))
        return view(request)

    return limited
