"""Changes to the finished document; each is a hook of drf-spectacular."""

import re
from collections.abc import Iterator
from typing import Any

from hypervisor.openapi.responses import components, reference
from hypervisor.rest.schemas import NAME

_NULL = {"type": "string", "nullable": True, "enum": [None]}
_REFERENCE = re.compile(r"#/components/(\w+)/(.+)")


def with_responses(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the responses and headers that the calls refer to."""
    result["components"] |= components()
    return result


def with_named_objects(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Make every schema that has a name a component of that name.

    Raises ValueError if two of them have the same name and differ.
    """
    schemas = result["components"]["schemas"]
    for component in list(schemas.values()):
        for holder in list(_dicts(component)):
            for key, value in holder.items():
                if isinstance(value, dict):
                    holder[key] = _moved(value, schemas)
                elif isinstance(value, list):
                    holder[key] = [_moved(each, schemas) for each in value]
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result


def with_typed_nulls(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Make null one of the alternatives of a schema without a `type`.

    OpenAPI 3.0 gives `nullable` a meaning only next to a `type`.
    """
    for schema in _dicts(result["components"]["schemas"]):
        if schema.get("nullable") is True and "type" not in schema:
            del schema["nullable"]
            schema["oneOf"] = [*schema.pop("allOf", ()), *schema.get("oneOf", ()), _NULL]
    return result


def with_named_choices(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Let parameters refer to the choices of the schema that has them, under its name."""
    choices = {
        frozenset(schema["enum"]): name
        for name, schema in result["components"]["schemas"].items()
        if "enum" in schema
    }
    for path in result["paths"].values():
        for call in path.values():
            for parameter in call.get("parameters", []):
                for schema in _dicts(parameter):
                    for key, value in schema.items():
                        if isinstance(value, dict) and frozenset(value.get("enum", ())) in choices:
                            schema[key] = reference("schemas", choices[frozenset(value["enum"])])
    return result


def without_unused_components(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Remove the components that no call leads to."""
    used: set[tuple[str, str]] = set()
    waiting = [result["paths"]]
    while waiting:
        for each in _dicts(waiting.pop()):
            found = _REFERENCE.fullmatch(str(each.get("$ref", "")))
            if found and found.groups() not in used:
                used.add((found[1], found[2]))
                waiting.append(result["components"][found[1]][found[2]])
    for kind, named in result["components"].items():
        if kind != "securitySchemes":
            result["components"][kind] = {
                name: each for name, each in named.items() if (kind, name) in used
            }
    return result


def _moved(value: Any, schemas: dict[str, Any]) -> Any:
    if not isinstance(value, dict) or NAME not in value:
        return value
    name = value.pop(NAME)
    if schemas.setdefault(name, value) != value:
        raise ValueError(f"Two schemas that differ are named {name}: rename one of them.")
    return reference("schemas", name)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within the value, the innermost first."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _dicts(inner)
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _dicts(inner)
