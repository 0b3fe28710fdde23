"""The Content-Security-Policy of each page: no foreign resources and no inline scripts."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from hypervisor import pages

_STRICT = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; font-src 'self' data:;"
    " form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; script-src 'self';"
)
STRICT = f"{_STRICT} style-src 'self'"
# Swagger UI sets inline styles, but runs no inline script.
DOCS = f"{_STRICT} style-src 'self' 'unsafe-inline'"
# Alpine, which the admin uses, evaluates expressions in attributes.
ADMIN = DOCS.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")


class ContentSecurityPolicyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy_of(request.path))
        return response


def policy_of(path: str) -> str:
    if path.startswith(pages.OPERATORS):
        return ADMIN
    return DOCS if path == "/docs" else STRICT
