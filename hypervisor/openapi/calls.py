"""How each call is described: its name, parameters, examples and responses."""

import inspect
from collections.abc import Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any, Literal

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.idempotency import HEADER, MAX_LENGTH, REPLAYED, IdempotentMixin
from hypervisor.base.numbers import MAX
from hypervisor.openapi.responses import (
    LOCATION,
    ErrorSerializer,
    headers,
    name_of,
    reference,
)
from hypervisor.rest.filters import StrictFilterBackend
from hypervisor.rest.schemas import BODY, CHANGE
from hypervisor.rest.serializers import StrictMixin
from orgs.dry_runs import FIELD, PARAMETER, DryRunMixin
from orgs.viewsets import TenantViewSet
from scheduling.serializers import OnlyPreviewSerializer, PreviewSerializer

_IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
    OpenApiParameter.HEADER,
    description="Up to 255 characters. Within 24 hours, a repeated request with the same key gets"
    " the first response again and changes nothing, as long as the caller still has the required"
    " role; a different request with the key is a 409. A dry run ignores it.",
)

_DRY_RUN = OpenApiParameter(
    PARAMETER,
    bool,
    description="Carry out the call and roll it back: return its answer, with what the next cycle"
    " would do because of it as `preview`. The status is 200; errors are those of the call.",
)

_ID = {"type": "integer", "minimum": 1, "maximum": MAX}

_NAMES = {
    "list": "list_{many}",
    "create": "create_{one}",
    "retrieve": "get_{one}",
    "update": "replace_{one}",
    "partial_update": "update_{one}",
    "destroy": "delete_{one}",
}
"""The names of the usual actions; any other one is named `{action}_{one}` or by its view."""

_SUMMARIES = {
    "list": "List {many}",
    "create": "Create one {one}",
    "retrieve": "Show one {one}",
    "update": "Replace the fields of one {one} that may change",
    "partial_update": "Change one {one}",
    "destroy": "Delete one {one}",
}


class Schema(AutoSchema):
    """Derives from the view what a call is named, and what it takes and returns."""

    view: Any

    def get_override_parameters(self) -> list[Any]:
        return [
            *([_IDEMPOTENCY_KEY] if self._is_repeatable() else []),
            *([_DRY_RUN] if self._can_be_tried() else []),
        ]

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._get_parameters()
        for parameter in parameters:
            if parameter["in"] == "path":
                of = parameter["name"].removesuffix("id").removesuffix("_")
                parameter["schema"] = _ID
                parameter["description"] = f"Id of the {of or self._nouns()['one']}."
            _refuse_empty(parameter["schema"])
        return parameters

    def get_operation_id(self) -> str:
        """Return a verb and a noun, after the view's method and its model: `hold_deployment`."""
        action = getattr(self.view, "action", "")
        if not action:
            raise TypeError(f"Name {self.method} {self.path}: @extend_schema(operation_id=…).")
        return _NAMES.get(action, f"{action}_{{one}}").format_map(
            {key: noun.replace(" ", "_").lower() for key, noun in self._nouns().items()}
        )

    def get_summary(self) -> str | None:
        """Return the first line of the method's docstring, or a sentence from its name."""
        action = getattr(self.view, "action", self.method.lower())
        own = inspect.getdoc(getattr(self.view, action))
        if own or action not in _SUMMARIES:
            return (own or "").split("\n")[0].rstrip(".") or None
        return _SUMMARIES[action].format_map(self._nouns())

    def get_filter_backends(self) -> list[Any]:
        """Return the filters of the view's list, and of the actions that take its filters."""
        action = getattr(self.view, "action", "")
        if action == "list":
            return super().get_filter_backends()
        filtered = action in getattr(self.view, "filtered", ())
        return [StrictFilterBackend] if filtered else []

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}Page"

    def _get_serializer_name(self, *args: Any, **options: Any) -> str:
        """Return the name of a schema; that of the body of a PATCH is `DeploymentChange`."""
        name: str = super()._get_serializer_name(*args, **options)
        if not name.startswith("Patched"):
            return name
        return (
            name.removeprefix("Patched").removesuffix("Request").removesuffix("Update") + "Change"
        )

    def _nouns(self) -> dict[str, str]:
        names = self.view.queryset.model._meta
        return {"one": str(names.verbose_name), "many": str(names.verbose_name_plural)}

    def _is_repeatable(self) -> bool:
        return self.method == "POST" and isinstance(self.view, IdempotentMixin)

    def _can_be_tried(self) -> bool:
        return isinstance(self.view, DryRunMixin) and self.view.can_be_tried

    def _map_basic_serializer(self, serializer: Any, direction: str) -> dict[str, Any]:
        """Close the bodies that refuse unknown fields, and require what each answer has."""
        map_fields: Any = super()._map_basic_serializer
        schema: dict[str, Any] = map_fields(serializer, direction)
        if direction == "request":
            if isinstance(serializer, StrictMixin):
                schema["additionalProperties"] = False
            if serializer.partial:
                # A generated client would send defaults, and so reset fields that it omits.
                _drop(schema, "default")
            return schema
        absent = {name for name, field in serializer.fields.items() if _may_be_absent(field)}
        schema["required"] = sorted(set(schema["properties"]) - absent)
        _drop(schema, "default", "readOnly")
        return schema

    def _get_examples(self, serializer: Any, direction: str, *args: Any, **options: Any) -> Any:
        examples_of: Any = super()._get_examples
        found: dict[str, Any] = examples_of(serializer, direction, *args, **options)
        if direction == "request":
            wanted = CHANGE if self.method == "PATCH" and CHANGE in found else BODY
            return {wanted: found[wanted]} if wanted in found else found
        return found

    def _get_response_bodies(
        self, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if self._can_be_tried():
            self._describe_dry_run(bodies)
        for status, body in bodies.items():
            body["headers"] = headers(*self._headers(status))
            body["description"] = HTTPStatus(int(status)).phrase
        self.resolve_serializer(ErrorSerializer, direction)
        errors = {str(int(s)): reference("responses", name_of(s)) for s in self._errors()}
        return dict(sorted((errors | bodies).items()))

    def _describe_dry_run(self, bodies: dict[str, Any]) -> None:
        """Add the answer of a dry run: that of the call with one field more, or only this field."""
        (own,) = bodies.values()
        if "content" not in own:
            describe: Any = self._get_response_for_code
            bodies["200"] = describe(OnlyPreviewSerializer, "200")
            return
        bodies.setdefault("200", deepcopy(own))
        name = own["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        answer: Any = self.registry[name, ResolvedComponent.SCHEMA]
        answer.schema["properties"][FIELD] = {
            "allOf": [self.resolve_serializer(PreviewSerializer, "response").ref],
            "description": "Only in the answer of a dry run.",
        }

    def _headers(self, status: str) -> list[str]:
        """Return the headers of a success besides those that all responses have."""
        creates = status == "201" and getattr(self.view, "action", "") == "create"
        return [*([REPLAYED] if self._is_repeatable() else []), *([LOCATION] if creates else [])]

    def _errors(self) -> list[HTTPStatus]:
        """Return the error statuses that this call may return."""
        tenant = isinstance(self.view, TenantViewSet)
        writes = self.method in {"POST", "PUT", "PATCH", "DELETE"}
        reads_body = bool(self._get_request_body())  # type: ignore[no-untyped-call]
        possible = {
            HTTPStatus.BAD_REQUEST: True,
            HTTPStatus.UNAUTHORIZED: self.view.permission_classes or "/token" in self.path,
            HTTPStatus.FORBIDDEN: writes and self.view.permission_classes,
            HTTPStatus.NOT_FOUND: "{" in self.path or (tenant and writes) or "join" in self.path,
            HTTPStatus.NOT_ACCEPTABLE: True,
            HTTPStatus.REQUEST_TIMEOUT: reads_body,
            HTTPStatus.CONFLICT: writes and self.view.permission_classes,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: reads_body,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE: reads_body,
            HTTPStatus.TOO_MANY_REQUESTS: self.view.throttle_classes,
            HTTPStatus.SERVICE_UNAVAILABLE: True,
        }
        possible |= dict.fromkeys(self._own_errors(), True)
        return [status for status, applies in possible.items() if applies]

    def _own_errors(self) -> Sequence[HTTPStatus]:
        """Return the error statuses that the view lists for this action."""
        own: Mapping[str, Sequence[HTTPStatus]] = getattr(self.view, "own_errors", {})
        return own.get(getattr(self.view, "action", ""), ())


def _drop(schema: dict[str, Any], *keys: str) -> None:
    """Remove the keys from the schemas of an object's fields."""
    for field in schema["properties"].values():
        for key in keys:
            field.pop(key, None)


def _may_be_absent(field: Any) -> bool:
    """Return whether an answer may lack the field: a model's row has all of its fields."""
    of_a_model = isinstance(field.parent, serializers.ModelSerializer)
    has_default = field.default is not serializers.empty
    return not (field.required or field.read_only or of_a_model or has_default)


def _refuse_empty(schema: dict[str, Any]) -> None:
    """Require a value for a parameter that is present."""
    value = schema.get("items", schema)
    if value.get("type") == "string" and "enum" not in value:
        value.setdefault("minLength", 1)


class DescribedField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Describes a field by its own schemas."""

    target_class = "hypervisor.rest.schemas.Described"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        of = self.target.body_schema if direction == "request" else self.target.answer_schema
        return deepcopy(dict(of))


class EitherToken(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Lets the Authorize button of /docs get a token from `/token`, or take an API token."""

    target_class = "orgs.tokens.authentication.TokenAuthentication"
    name = ["password", "token"]
    priority = 1

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        """Require one of them."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        flow = {"tokenUrl": "/token", "refreshUrl": "/token/refresh", "scopes": {}}
        return [
            {"type": "oauth2", "flows": {"password": flow}},
            {"type": "http", "scheme": "bearer", "description": "An API token: `hv_…`."},
        ]
