"""Turn what services refuse into HTTP answers of one shape."""

from http import HTTPStatus

from django.http import HttpRequest, JsonResponse
from drf_standardized_errors.handler import ExceptionHandler
from rest_framework import exceptions

from accounts.errors import Conflict, DomainError, Forbidden, Invalid, NotFound, TooMany

_STATUS = {
    Invalid: HTTPStatus.BAD_REQUEST,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
}


class DomainErrorHandler(ExceptionHandler):
    """Answers with the status of the domain error's class, and with nothing leaked."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        if isinstance(exc, Invalid):
            return exceptions.ValidationError({exc.attr or "non_field_errors": _detail(exc)})
        if isinstance(exc, DomainError):
            converted = exceptions.APIException(_detail(exc))
            converted.status_code = _STATUS[type(exc)]
            converted.wait = getattr(exc, "wait", None)  # type: ignore[attr-defined]
            return converted
        known: Exception = super().convert_known_exceptions(exc)
        return known


def _detail(error: DomainError) -> exceptions.ErrorDetail:
    return exceptions.ErrorDetail(error.detail, code=error.code)


def not_found(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    """Answer an unknown path in the API's own shape."""
    return _answer(404, "not_found", f"There is nothing at {request.path}: see /docs.")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return _answer(400, "bad_request", "The request cannot be understood: see /docs.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return _answer(403, "permission_denied", "This is not allowed.")


def server_error(request: HttpRequest) -> JsonResponse:
    return _answer(500, "error", "The server failed; its log says why.", kind="server_error")


def _answer(status: int, code: str, detail: str, kind: str = "client_error") -> JsonResponse:
    errors = [{"code": code, "detail": detail, "attr": None}]
    return JsonResponse({"type": kind, "errors": errors}, status=status)
