"""The errors and the headers of responses, each described once and referenced by the calls."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from rest_framework import serializers

from accounts.idempotency import REPLAYED


class ProblemSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="For programs.")
    detail = serializers.CharField(help_text="For people: the problem and the remedy.")
    attr = serializers.CharField(
        allow_null=True, help_text="The field, parameter or header at fault, if there is any."
    )


class ErrorSerializer(serializers.Serializer[Any]):
    """The format of every error."""

    type = serializers.ChoiceField(["validation_error", "client_error", "server_error"])
    errors = ProblemSerializer(many=True)  # type: ignore[assignment]


REQUEST_ID, RETRY_AFTER, CHALLENGE = "X-Request-ID", "Retry-After", "WWW-Authenticate"
LOCATION = "Location"

HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    REQUEST_ID: (
        "Identifies the request in the service's logs. A request may bring its own.",
        {"type": "string", "example": "0f6f1d5e-6c1c-4b0a-9a55-7d7b7f1b6b1e"},
    ),
    RETRY_AFTER: (
        "After how many seconds the request may be repeated.",
        {"type": "integer", "minimum": 0, "example": 42},
    ),
    CHALLENGE: (
        "The authentication that the call needs.",
        {"type": "string", "example": 'Bearer realm="api"'},
    ),
    LOCATION: (
        "The path of what was created.",
        {"type": "string", "format": "uri-reference", "example": "/deployments/7"},
    ),
    REPLAYED: (
        "`true` if this is the stored response of an earlier request with the same key.",
        {"type": "string", "enum": ["true"]},
    ),
}
"""By name: the meaning of a header, and its schema."""


@dataclass(frozen=True)
class Refusal:
    """An error status: its meaning, and the code, detail and attr of an example."""

    when: str
    code: str
    detail: str
    attr: str | None = None
    headers: tuple[str, ...] = ()


REFUSALS: dict[HTTPStatus, Refusal] = {
    HTTPStatus.BAD_REQUEST: Refusal(
        "The body or a parameter is wrong.", "required", "This field is required.", "name",
    ),
    HTTPStatus.UNAUTHORIZED: Refusal(
        "The token is missing, invalid or expired.", "not_authenticated",
        "Authentication credentials were not provided.", headers=(CHALLENGE,),
    ),
    HTTPStatus.FORBIDDEN: Refusal(
        "The member's role is too low, or the API token does not allow the call, or registration is"
        " not open.", "permission_denied",
        "This needs the role admin or higher; yours is developer.",
    ),
    HTTPStatus.NOT_FOUND: Refusal(
        "It does not exist, or belongs to an organization of which the caller is not a member.",
        "not_found", "It does not exist in any of your organizations.",
    ),
    HTTPStatus.NOT_ACCEPTABLE: Refusal(
        "The request accepts no media type of the response.", "not_acceptable",
        "Could not satisfy the request Accept header.",
    ),
    HTTPStatus.REQUEST_TIMEOUT: Refusal(
        "The body did not arrive in time.", "timeout",
        "The body was not complete within 30 seconds: send it faster.",
    ),
    HTTPStatus.CONFLICT: Refusal(
        "The present state forbids the call.", "conflict",
        "Deployment 7 is running; only a pending deployment can be held: stop it first.",
    ),
    HTTPStatus.GONE: Refusal(
        "Events after this number were deleted, or this database has never assigned it.",
        "events_deleted",
        "Events up to number 1200 were deleted. Continue with `after=0`, which begins with the"
        " oldest event that is kept (1201).", "after",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Refusal(
        "The body is too large.", "too_large",
        "The body is too large: send at most 2621440 bytes at a time.",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Refusal(
        "The body has another media type.", "unsupported_media_type",
        'Unsupported media type "text/plain" in request. Send JSON, with'
        " `Content-Type: application/json`.",
    ),
    HTTPStatus.TOO_MANY_REQUESTS: Refusal(
        "Too many requests.", "throttled",
        "Request was throttled. Expected available in 42 seconds.", headers=(RETRY_AFTER,),
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: Refusal(
        "The database or an engine is down or busy.", "locked",
        "Another change or a scheduling cycle has locked rows of this call. Repeat the call.",
        headers=(RETRY_AFTER,),
    ),
}  # fmt: skip


def name_of(status: HTTPStatus) -> str:
    """Return the name of the described response: `NotFound`."""
    return "".join(word.capitalize() for word in status.name.split("_"))


def reference(kind: str, name: str) -> dict[str, str]:
    """Return a reference to a component of the document, such as a response."""
    return {"$ref": f"#/components/{kind}/{name}"}


def headers(*names: str) -> dict[str, Any]:
    """Return the references to headers of a response; each response has the id of its request."""
    return {name: reference("headers", name) for name in (REQUEST_ID, *names)}


def components() -> dict[str, Any]:
    """Return the components that the calls refer to."""
    return {
        "responses": {name_of(status): _response(status) for status in REFUSALS},
        "headers": {
            name: {"description": meaning, "schema": schema}
            for name, (meaning, schema) in HEADERS.items()
        },
    }


def _response(status: HTTPStatus) -> dict[str, Any]:
    refusal = REFUSALS[status]
    kind = "client_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    kind = "validation_error" if status == HTTPStatus.BAD_REQUEST else kind
    error = {"code": refusal.code, "detail": refusal.detail, "attr": refusal.attr}
    content = {
        "schema": reference("schemas", "Error"),
        "examples": {name_of(status): {"value": {"type": kind, "errors": [error]}}},
    }
    return {
        "description": refusal.when,
        "headers": headers(*refusal.headers),
        "content": {"application/json": content},
    }
