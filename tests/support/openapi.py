"""The calls of the OpenAPI document, and a check of values against its schemas."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
from drf_spectacular.generators import SchemaGenerator

JSON = "application/json"


@dataclass(frozen=True)
class Call:
    """One operation of the document."""

    method: str
    path: str
    operation: Any

    @property
    def name(self) -> str:
        return str(self.operation["operationId"])

    @property
    def body(self) -> Any:
        """Return the media type object of the JSON body, None if the call takes no body."""
        return self.operation.get("requestBody", {}).get("content", {}).get(JSON)

    @property
    def responses(self) -> dict[str, Any]:
        return {code: resolved(each) for code, each in self.operation["responses"].items()}

    @property
    def can_be_tried(self) -> bool:
        """Whether the call has a dry run."""
        return any(each["name"] == "dry_run" for each in self.operation.get("parameters", ()))

    def __str__(self) -> str:
        return f"{self.name} ({self.method} {self.path})"


@cache
def document() -> Any:
    """Return the document as a client gets it."""
    generator: Any = SchemaGenerator()  # type: ignore[no-untyped-call]
    return generator.get_schema(request=None, public=True)


@cache
def calls() -> tuple[Call, ...]:
    return tuple(
        Call(method.upper(), path, operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    )


def named(call: Call) -> str:
    """Return the name of a parametrized test."""
    return call.name


def resolved(value: Any) -> Any:
    """Follow a reference within the document."""
    while "$ref" in value:
        _hash, _components, kind, name = value["$ref"].split("/")
        value = document()["components"][kind][name]
    return value


def problems(value: Any, schema: Any) -> list[str]:
    """Return in which ways the value differs from a schema of the document."""
    whole = {**_plain(schema), "components": _components()}
    checker = jsonschema_rs.Draft7Validator(whole, validate_formats=True)
    return [
        f"{'.'.join(map(str, error.instance_path)) or 'the whole'}: {error.message}"
        for error in checker.iter_errors(value)
    ]


def examples(media_type: Any) -> Iterator[Any]:
    """Yield the examples of a body or a response."""
    for each in media_type.get("examples", {}).values():
        yield each["value"]


@cache
def _components() -> Any:
    return _plain(document()["components"])


def _plain(schema: Any) -> Any:
    """Return an OpenAPI 3.0 schema as JSON Schema, which has no `nullable`."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(each) for key, each in schema.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


ALWAYS = {"X-Request-ID", "Location", "Retry-After", "WWW-Authenticate"}
"""The headers that a response always has if its description names them."""


def check_answer(call: Call, response: Any) -> None:
    """Fail if the document does not describe the response to the call."""
    described = call.responses.get(str(response.status_code))
    assert described, (
        f"{call} answers {response.status_code}, which it does not describe: {response.content!r}."
        " Add the status to `own_errors` of its view, or to `_errors` of the openapi package."
    )
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    assert {kind} - {""} == set(described.get("content", {})), (
        f"{call} answers {response.status_code} with {kind or 'no body'}: correct the `responses`"
        " of its @extend_schema."
    )
    if kind == JSON:
        wrong = problems(response.json(), described["content"][JSON]["schema"])
        assert not wrong, f"{call} answers {response.status_code}: {wrong}. Correct its serializer."
    missing = ALWAYS & set(described["headers"]) - set(response.headers)
    assert not missing, f"{call} answers {response.status_code} without the headers {missing}"
