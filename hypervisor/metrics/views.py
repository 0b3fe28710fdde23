"""Access to the metrics: for a scraper with its token, and operators.

They contain the names of all organizations. So in production no address is trusted: behind a proxy
on the same machine, every caller has a loopback address.
"""

from ipaddress import ip_address
from secrets import compare_digest
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from hypervisor.metrics import page
from hypervisor.rest.parameters import StrictParametersMixin
from orgs.tokens.authentication import TokenAuthentication
from orgs.tokens.grants import grant_of

PERMISSION = "scheduling.view_sample"
"""The permission of the operators who may read the metrics: that of the dashboard's figures."""

_OF_PROXIES = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST",
               "HTTP_X_FORWARDED_PROTO", "HTTP_X_REAL_IP")  # fmt: skip
"""Headers that a proxy adds."""

_SCRAPER = "scraper"
"""What `request.auth` is for a scraper, which is no user."""


class ScraperAuthentication(TokenAuthentication):
    """Accepts METRICS_TOKEN, and in development a caller on this machine without a token."""

    def authenticate(self, request: Request) -> Any:
        header = self.get_header(request)
        if header is None:
            return (AnonymousUser(), _SCRAPER) if _is_local(request) else None
        raw = self.get_raw_token(header)
        if raw is not None and _is_token(raw):
            return AnonymousUser(), _SCRAPER
        return super().authenticate(request)


class MayRead(BasePermission):
    message = (
        f"Reading the metrics needs METRICS_TOKEN, or the permission {PERMISSION} and a token that"
        " is not limited to an organization."
    )

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth == _SCRAPER:
            return True
        grant = grant_of(request.user)
        is_limited = grant is not None and grant.organization is not None
        return request.user.has_perm(PERMISSION) and not is_limited


class OneFormat(DefaultContentNegotiation):
    """Ignores `Accept`: Prometheus asks for formats of several versions, and takes any of them."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


@extend_schema(exclude=True)
class MetricsView(StrictParametersMixin, APIView):
    authentication_classes = (ScraperAuthentication,)
    permission_classes = (MayRead,)
    content_negotiation_class = OneFormat

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(page.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _is_token(raw: bytes) -> bool:
    token = settings.METRICS_TOKEN.encode()
    return bool(token) and compare_digest(raw, token)


def _is_local(request: Request) -> bool:
    """Return whether a program on this machine calls a service in development, without a proxy."""
    if settings.PRODUCTION or any(name in request.META for name in _OF_PROXIES):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
