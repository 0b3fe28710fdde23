"""Schemas of tools, from the description of the calls that they make: the OpenAPI document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from hypervisor.mcp.results import MOST_ROWS
from hypervisor.openapi.json_schema import converted

Schema = dict[str, Any]

ROWS = 20
"""How many rows a page of a tool has by default."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call of the API, with the schemas of its parameters, its body and its answers."""

    method: str
    path: str
    in_path: Mapping[str, Schema]
    in_query: Mapping[str, Schema]
    body: Schema
    answers: Mapping[str, Schema]


@cache
def _document() -> Schema:
    generator: Any = SchemaGenerator
    return dict(generator().get_schema(public=True))


@cache
def operation(name: str) -> Operation:
    """Return the call with this name. Raises LookupError if there is none."""
    for path, calls in _document()["paths"].items():
        for method, call in calls.items():
            if call["operationId"] == name:
                return _operation(method, path, call)
    raise LookupError(f"No call is named {name}.")


def resolved(schema: Schema) -> Schema:
    """Return the component that the schema refers to."""
    if "$ref" not in schema:
        return schema
    return dict(_document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])


def takes_null(schema: Schema) -> bool:
    """Return whether null is a value of this JSON Schema."""
    kinds = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    return schema.get("type") == "null" or any(takes_null(each) for each in kinds)


def parameters(call: Operation, names: Iterable[str]) -> dict[str, Schema]:
    """Return the schemas of the parameters in the path, and of those of the query with a name."""
    chosen = {name: dict(call.in_query[name]) for name in names}
    if "limit" in chosen:
        chosen["limit"] |= {"maximum": MOST_ROWS, "default": ROWS}
    if "cursor" in chosen:
        chosen["cursor"]["description"] = "The `next_cursor` of the page before."
    return {**call.in_path, **chosen}


def of_object(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    """Return the JSON Schema of an object with these properties and no others."""
    definitions: Schema = {}
    components = _document()["components"]["schemas"]
    return {
        "type": "object",
        "properties": converted(dict(properties), components, definitions),
        "required": sorted(required),
        "additionalProperties": False,
        **({"$defs": dict(sorted(definitions.items()))} if definitions else {}),
    }


def of_columns(row: Schema, columns: Iterable[str]) -> Schema:
    """Return the schema of what `results.columns` returns."""
    shown = {name: resolved(row)["properties"][name] for name in columns}
    return {"type": "object", "properties": shown, "required": sorted(shown)}


def of_page(row: Schema, columns: Iterable[str]) -> Schema:
    """Return the JSON Schema of what `results.page` returns."""
    item = of_columns(row, columns)
    cursor = {"type": "string", "nullable": True, "description": "Null on the last page."}
    properties: dict[str, Schema] = {
        "count": {"type": "integer", "description": "The number of rows on all pages."},
        "next_cursor": cursor,
        "results": {"type": "array", "items": item},
    }
    return of_object(properties, properties)


def of_answer(schema: Schema) -> Schema:
    """Return the JSON Schema of what `results.bounded` returns for an object of the API."""
    found = resolved(schema)
    counts = {
        "type": "object",
        "description": "How many rows of a list were left out, by its name.",
        "additionalProperties": {"type": "integer"},
    }
    return of_object({**found["properties"], "omitted": counts}, found.get("required", ()))


def _operation(method: str, path: str, call: Schema) -> Operation:
    given: dict[str, dict[str, Schema]] = {"path": {}, "query": {}, "header": {}}
    for each in call.get("parameters", ()):
        described = {"description": text} if (text := each.get("description", "").strip()) else {}
        given[each["in"]][each["name"]] = {**each["schema"], **described}
    body = call.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = {
        status: schema
        for status, response in call["responses"].items()
        if (schema := response.get("content", {}).get("application/json", {}).get("schema"))
    }
    body_schema = resolved(body.get("schema", {}))
    return Operation(method.upper(), path, given["path"], given["query"], body_schema, answers)
