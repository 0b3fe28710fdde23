"""The parts of the OpenAPI document that apply to every call."""

import inspect
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from accounts.idempotency import HEADER, MAX_LENGTH, IdempotentMixin
from hypervisor.rest.filters import StrictFilterBackend
from orgs.viewsets import TenantViewSet


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


ERRORS: dict[HTTPStatus, tuple[str, str, str, str | None]] = {
    HTTPStatus.BAD_REQUEST: (
        "The body or a parameter is wrong.", "required", "This field is required.", "name",
    ),
    HTTPStatus.UNAUTHORIZED: (
        "The token is missing, invalid or expired.", "not_authenticated",
        "Authentication credentials were not provided.", None,
    ),
    HTTPStatus.FORBIDDEN: (
        "The member's role is too low, or registration is not open.", "permission_denied",
        "This needs the role admin or higher; yours is developer.", None,
    ),
    HTTPStatus.NOT_FOUND: (
        "It does not exist, or belongs to an organization of which the caller is not a member.",
        "not_found", "It does not exist in any of your organizations.", None,
    ),
    HTTPStatus.CONFLICT: (
        "The present state forbids the call.", "conflict",
        "Deployment 7 is running; only a pending deployment can be held: stop it first.", None,
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "Too many requests; `Retry-After` has the seconds to wait.", "throttled",
        "Request was throttled. Expected available in 42 seconds.", None,
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "The database or an engine is down or busy; `Retry-After` has the seconds to wait.",
        "locked",
        "Another change or a scheduling cycle has locked rows of this call. Repeat the call.", None,
    ),
}  # fmt: skip
"""By error status: its meaning, and an example's code, detail and attr."""

_IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
    OpenApiParameter.HEADER,
    description="Up to 255 characters. Within 24 hours, a repeated request with the same key gets"
    " the first response again and changes nothing, as long as the caller still has the required"
    " role; a different request with the key is a 409.",
)


_SUMMARIES = {
    "list": "List {}s",
    "create": "Create one {}",
    "retrieve": "Show one {}",
    "update": "Replace the fields of one {} that may change",
    "partial_update": "Change one {}",
    "destroy": "Delete one {}",
}


class Schema(AutoSchema):
    """Adds each call's errors and the idempotency key to the description by the view."""

    view: Any

    def get_override_parameters(self) -> list[Any]:
        repeatable = self.method == "POST" and isinstance(self.view, IdempotentMixin)
        return [_IDEMPOTENCY_KEY] if repeatable else []

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._get_parameters()
        for parameter in parameters:
            if parameter["in"] == "path":
                parameter["schema"] = {"type": "integer", "minimum": 0}
            _refuse_empty(parameter["schema"])
        return parameters

    def get_operation_id(self) -> str:
        """Return a name after the view's method: `deployments_hold`, without a `_create`."""
        action = getattr(self.view, "action", "")
        prefix = getattr(self.view, "operations", self.path.strip("/").split("/")[0])
        return f"{prefix}_{action}" if action else super().get_operation_id()

    def get_summary(self) -> str | None:
        """Return the first line of the method's docstring, or a sentence from its name."""
        action = getattr(self.view, "action", self.method.lower())
        own = inspect.getdoc(getattr(self.view, action))
        if own or action not in _SUMMARIES:
            return (own or "").split("\n")[0].rstrip(".") or None
        return _SUMMARIES[action].format(self.view.queryset.model._meta.verbose_name)

    def get_filter_backends(self) -> list[Any]:
        """Return the filters of the view's list, and of the actions that take its filters."""
        action = getattr(self.view, "action", "")
        if action == "list":
            return super().get_filter_backends()
        filtered = action in getattr(self.view, "filtered", ())
        return [StrictFilterBackend] if filtered else []

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        describe: Any = self._get_response_for_code
        errors = {str(int(s)): describe(_response(s), str(int(s))) for s in self._errors()}
        return dict(sorted((errors | bodies).items()))

    def _errors(self) -> list[HTTPStatus]:
        """Return the error statuses that this call may return."""
        tenant = isinstance(self.view, TenantViewSet)
        writes = self.method in {"POST", "PUT", "PATCH", "DELETE"}
        possible = {
            HTTPStatus.BAD_REQUEST: self.method != "DELETE",
            HTTPStatus.UNAUTHORIZED: self.view.permission_classes or "/token" in self.path,
            HTTPStatus.FORBIDDEN: tenant and writes,
            HTTPStatus.NOT_FOUND: "{" in self.path or (tenant and writes) or "join" in self.path,
            HTTPStatus.CONFLICT: writes and self.view.permission_classes,
            HTTPStatus.TOO_MANY_REQUESTS: self.view.throttle_classes,
            HTTPStatus.SERVICE_UNAVAILABLE: True,
        }
        possible |= dict.fromkeys(self._own_errors(), True)
        return [status for status, applies in possible.items() if applies]

    def _own_errors(self) -> Sequence[HTTPStatus]:
        """Return the error statuses that the view lists for this action."""
        own: Mapping[str, Sequence[HTTPStatus]] = getattr(self.view, "own_errors", {})
        return own.get(getattr(self.view, "action", ""), ())


def _refuse_empty(schema: dict[str, Any]) -> None:
    """Require a value for a parameter that is present."""
    value = schema.get("items", schema)
    if value.get("type") == "string" and "enum" not in value:
        value.setdefault("minLength", 1)


def _response(status: HTTPStatus) -> OpenApiResponse:
    when, code, detail, attr = ERRORS[status]
    kind = "client_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    kind = "validation_error" if status == HTTPStatus.BAD_REQUEST else kind
    body = {"type": kind, "errors": [{"code": code, "detail": detail, "attr": attr}]}
    example = OpenApiExample(status.phrase, body, status_codes=[str(int(status))])
    return OpenApiResponse(ErrorSerializer, description=when, examples=[example])


def without_defaults_in_patches(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Remove the defaults from the bodies of PATCH, because an omitted field stays as it is.

    A generated client would send the defaults and thereby reset these fields.
    """
    for name, component in result["components"]["schemas"].items():
        if name.startswith("Patched"):
            for field in component["properties"].values():
                field.pop("default", None)
    return result


class PasswordFlow(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Lets the Authorize button of /docs get a token from `/token`."""

    target_class = "accounts.authentication.BearerAuthentication"
    name = "password"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        flow = {"tokenUrl": "/token", "refreshUrl": "/token/refresh", "scopes": {}}
        return {"type": "oauth2", "flows": {"password": flow}}
