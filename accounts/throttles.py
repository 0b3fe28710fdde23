"""Rate limits against guessing and flooding."""

import math
import random
from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from redis import RedisError
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle, SimpleRateThrottle
from rest_framework.views import APIView

from accounts.lockout import wait_page
from accounts.models import User
from hypervisor.base.errors import Busy

log = structlog.get_logger(__name__)

View = Callable[..., HttpResponseBase]


class _Slots(SimpleRateThrottle):
    """Allows `num_requests` per `duration` seconds: each request occupies one slot for that long.

    The cache gives each slot to only one request. The base class reads and writes back a list of
    times instead, and so counts simultaneous requests as one.
    """

    num_requests: int | None
    duration: int | None

    def allow_request(self, request: Request, view: APIView) -> bool:
        self.key = self.get_cache_key(request, view)
        if self.rate is None or self.key is None:
            return True
        slots = [f"{self.key}:{number}" for number in range(self.num_requests or 0)]
        if self._take(random.choice(slots)):  # noqa: S311 not a secret
            return True
        self.taken: dict[str, float] = self.cache.get_many(slots)
        free = [slot for slot in slots if slot not in self.taken]
        random.shuffle(free)
        return any(self._take(slot) for slot in free)

    def wait(self) -> float:
        """Return how many seconds it takes until the next slot is free."""
        oldest = min(self.taken.values(), default=self.timer())
        return max(1.0, oldest + (self.duration or 0) - self.timer())

    def _take(self, slot: str) -> bool:
        return bool(self.cache.add(slot, self.timer(), self.duration))


class ScopedThrottle(ScopedRateThrottle, _Slots):
    """Counts requests in the cache per user, or per address; allows all of them without the cache.

    A service without rate limits for a while is better than one without log-ins.
    """

    def allow_request(self, request: Request, view: APIView) -> bool:
        try:
            return super().allow_request(request, view)
        except RedisError:
            log.warning("throttle_without_cache", path=request.path)
            return True


class LogIn(APIView):
    """The scope in which log-ins at `/token` and at the page to sign in are counted together."""

    throttle_scope = "token"


class Registration(APIView):
    """The scope in which registrations by the API and the page are counted together."""

    throttle_scope = "register"


class Mail(APIView):
    """The scope in which requests for mails are counted together."""

    throttle_scope = "mail"


def limit_requests(view: View, *, of: type[APIView], detail: str, method: str = "POST") -> View:
    """Count each request of the page with this method, and answer 429 to too many.

    A HEAD counts as a GET, because it does the same.
    """

    @wraps(view)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        throttle = ScopedThrottle()
        used = "GET" if request.method == "HEAD" else request.method
        if used == method and not _by_address(throttle, request, of()):
            return wait_page(request, detail, math.ceil(throttle.wait()))
        return view(request, *args, **kwargs)

    return limited


def _by_address(throttle: ScopedThrottle, request: HttpRequest, view: APIView) -> bool:
    """Return whether the throttle allows a request from this address, for any user."""
    user = request.user
    try:
        # It authenticates the request, and finds no user because there is no token.
        return throttle.allow_request(Request(request), view)
    finally:
        request.user = user


def limit_log_ins(view: View, method: str = "POST") -> View:
    """Count each request of the page with this method as a log-in."""
    detail = "Too many log-ins from this address: try again later."
    return limit_requests(view, of=LogIn, detail=detail, method=method)


def limit_registrations(view: View) -> View:
    """Count each form that is submitted to the page as a registration."""
    detail = "Too many registrations from this address: try again later."
    return limit_requests(view, of=Registration, detail=detail)


def limit_mails(view: View) -> View:
    """Count each form that is submitted to the page as a request for a mail."""
    detail = "Too many requests for mails from this address: try again later."
    return limit_requests(view, of=Mail, detail=detail)


class _Scope(APIView):
    def __init__(self, scope: str) -> None:
        super().__init__()
        self.throttle_scope = scope


def check_rate(request: HttpRequest, user: User, scope: str) -> None:
    """Count a form that the user submits in the scope's calls of the API.

    Raises Busy if there were too many.
    """
    counted = Request(request)
    counted.user = user
    throttle = ScopedThrottle()
    if not throttle.allow_request(counted, _Scope(scope)):
        seconds = math.ceil(throttle.wait())
        raise Busy(f"Too many attempts: try again in {seconds} seconds.", retry_after_s=seconds)
