"""Turns the services' refusals and the database's outages into responses of one format."""

import sys
from http import HTTPStatus
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import AuthenticationFailed as TokenRefused

from hypervisor.base.errors import (
    Busy,
    Conflict,
    DomainError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
)
from hypervisor.base.outages import refusal_of
from hypervisor.pages import OPERATORS, is_page

log = structlog.get_logger(__name__)

_STATUS = {
    Invalid: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Gone: HTTPStatus.GONE,
    Busy: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


_NOT_UNDERSTOOD = "The request cannot be understood: see /docs."


class DomainErrorHandler(ExceptionHandler):
    """Answers with the status of the domain error's class, and reveals no internals."""

    def run(self) -> Response | None:
        """Answer the exception; an outage of the database becomes a refusal first."""
        self.exc = _refusal(self.exc) or self.exc
        response: Response | None = super().run()
        return response

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        match exc:
            case Invalid():
                return exceptions.ValidationError({exc.attr or "non_field_errors": _detail(exc)})
            case Busy():
                throttled = exceptions.Throttled(exc.retry_after_s)
                throttled.detail = _detail(exc)
                return throttled
            case DomainError():
                return _with_status(exceptions.APIException(_detail(exc)), _STATUS[type(exc)])
            case TokenRefused():
                return exceptions.AuthenticationFailed(
                    "The token is invalid, expired or revoked: log in at /token, or use another API"
                    " token.",
                    "token_not_valid",
                )
            case Http404():
                return exceptions.NotFound("It does not exist in any of your organizations.")
            case RequestDataTooBig():
                most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
                most = min(getattr(self.context["view"], "max_body", most), most)
                why = f"The body is too large: send at most {most} bytes at a time."
                error = exceptions.APIException(why, "too_large")
                return _with_status(error, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            case TooManyFieldsSent():
                most = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
                return exceptions.ParseError(f"Too many fields: send at most {most}.")
            case SuspiciousOperation():
                return exceptions.ParseError(_NOT_UNDERSTOOD)
            case exceptions.UnsupportedMediaType():
                remedy = "Send JSON, with `Content-Type: application/json`."
                exc.detail = exceptions.ErrorDetail(f"{exc.detail} {remedy}", exc.default_code)
        known: Exception = super().convert_known_exceptions(exc)
        return known

    def format_exception(self, exc: exceptions.APIException) -> dict[str, Any]:
        data: dict[str, Any] = super().format_exception(exc)
        if isinstance(self.exc, DomainError):
            data["errors"][0]["attr"] = self.exc.attr
        for error in data["errors"]:
            if error["attr"] is not None:
                of_whole = error["attr"].removesuffix("non_field_errors")
                error["attr"] = of_whole.removesuffix(".") or None
        return data

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        """Report only failures: a refusal, even with a 5xx, is not a failure of this process."""
        if not isinstance(self.exc, DomainError):
            super().report_exception(exc, response)

    def get_headers(self, exc: exceptions.APIException) -> dict[str, Any]:
        headers: dict[str, Any] = super().get_headers(exc)
        if exc.status_code == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", 'Bearer realm="api"')
        if isinstance(self.exc, Unavailable):
            headers["Retry-After"] = str(self.exc.retry_after_s)
        return headers


def _with_status(error: exceptions.APIException, status: HTTPStatus) -> exceptions.APIException:
    error.status_code = status
    return error


def _detail(error: DomainError) -> exceptions.ErrorDetail:
    return exceptions.ErrorDetail(error.detail, code=error.code)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown path: a browser with a page, other callers in the API's error format."""
    if is_page(request.path) or request.get_preferred_type(_TYPES) == _TYPES[1]:
        return problem_page(request, HTTPStatus.NOT_FOUND)
    return _answer(404, "not_found", f"There is nothing at {request.path}: see /docs.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if is_page(request.path):
        return problem_page(request, HTTPStatus.BAD_REQUEST)
    return _answer(400, "bad_request", _NOT_UNDERSTOOD)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if is_page(request.path):
        return problem_page(request, HTTPStatus.FORBIDDEN)
    return _answer(403, "permission_denied", "This is not allowed.")


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose token against forgery is missing or wrong."""
    if not is_page(request.path):
        return forbidden(request)
    why = _FOREIGN if reason.startswith("Origin checking failed") else _EXPIRED
    return problem_page(request, HTTPStatus.FORBIDDEN, "The form was not accepted", why)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that no view or middleware has caught: a refusal, else a failure."""
    refusal = _refusal(sys.exception())
    if refusal is not None:
        return _refused(request, refusal)
    if is_page(request.path):
        return problem_page(request, HTTPStatus.INTERNAL_SERVER_ERROR)
    return _answer(500, "error", "The server failed; see its log.", kind="server_error")


_TYPES = ["application/json", "text/html"]

_EXPIRED = (
    "It was open for too long, or you have signed in or out since then, or the browser blocks"
    " cookies. Nothing was changed. Go back, reload the page, and send the form again."
)
_FOREIGN = (
    "It came from an address that the service does not know. Nothing was changed. An operator adds"
    " the address to CSRF_TRUSTED_ORIGINS."
)
_PROBLEMS = {
    HTTPStatus.BAD_REQUEST: (
        "The request cannot be understood",
        (
            "The address or the form contains something that the service cannot read. Nothing was"
            " changed."
        ),
    ),
    HTTPStatus.FORBIDDEN: (
        "You may not open this page",
        (
            "Your account does not have the permission that this page requires. Ask an operator for"
            " it, or sign in with another account."
        ),
    ),
    HTTPStatus.NOT_FOUND: (
        "There is no such page",
        (
            "The address is wrong, or what it shows was deleted, or it belongs to an organization"
            " of which you are not a member."
        ),
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "The page cannot be used like this",
        "This address accepts only another kind of request. Nothing was changed.",
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: (
        "The service failed",
        (
            "An unexpected error ended the request, and what it had begun was undone. Try again; if"
            " that fails too, give an operator the id of the request."
        ),
    ),
}


def problem_page(
    request: HttpRequest, status: HTTPStatus, title: str = "", detail: str = ""
) -> HttpResponse:
    """Return a page that says what happened and where to go, without session and database."""
    usual = _PROBLEMS.get(status, (status.phrase, ""))
    page = {
        "title": title or usual[0],
        "detail": detail or usual[1],
        "status": status,
        "operators": request.path.startswith(OPERATORS),
        "again": status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS,
        "request_id": request.META.get("HTTP_X_REQUEST_ID", "") if status >= 500 else "",
    }
    return HttpResponse(render_to_string("hypervisor/problem.html", page), status=status)


class PageMethodMiddleware(MiddlewareMixin):
    """Gives a page's refusal of a method, which has no content, the look of a page."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if isinstance(response, HttpResponseNotAllowed) and is_page(request.path):
            page = problem_page(request, HTTPStatus.METHOD_NOT_ALLOWED)
            page.headers["Allow"] = response.headers["Allow"]
            return page
        return response


class RefusalMiddleware(MiddlewareMixin):
    """Answers refusals that the view of a page raises, as the API does."""

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        refusal = _refusal(exception)
        return _refused(request, refusal) if refusal is not None else None


def _refusal(error: BaseException | None) -> DomainError | None:
    """Return the refusal that the error is or leads to, or None if it is a failure."""
    if isinstance(error, DomainError):
        return error
    refusal = refusal_of(error)
    if refusal is not None:
        log.warning("database_refused", code=refusal.code, error=str(error))
    return refusal


def _refused(request: HttpRequest, refusal: DomainError) -> HttpResponse:
    """Return a page for a page, and JSON for other paths."""
    status = _STATUS[type(refusal)]
    response: HttpResponse
    if is_page(request.path):
        response = problem_page(request, status, detail=refusal.detail)
    else:
        kind = "server_error" if status >= 500 else "client_error"
        response = _answer(status, refusal.code, refusal.detail, kind)
    if isinstance(refusal, Busy | Unavailable):
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def _answer(status: int, code: str, detail: str, kind: str = "client_error") -> JsonResponse:
    errors = [{"code": code, "detail": detail, "attr": None}]
    return JsonResponse({"type": kind, "errors": errors}, status=status)
