"""Schemas of the OpenAPI document as JSON Schema 2020-12, for what does not read OpenAPI."""

from typing import Any

_PREFIX = "#/components/schemas/"


def converted(schema: Any, components: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return the schema with references into `$defs`; add what they refer to to `definitions`."""
    if isinstance(schema, list):
        return [converted(each, components, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: converted(each, components, definitions) for name, each in schema.items()}
    reference = copied.get("$ref", "")
    if isinstance(reference, str) and reference.startswith(_PREFIX):
        name = reference.removeprefix(_PREFIX)
        copied["$ref"] = f"#/$defs/{name}"
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = converted(components[name], components, definitions)
    return _or_null(copied) if copied.pop("nullable", False) is True else copied


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Say `nullable`, which only OpenAPI knows, in JSON Schema."""
    described: dict[str, Any] = {
        name: schema.pop(name) for name in ("description", "default") if name in schema
    }
    return {**described, "anyOf": [schema, {"type": "null"}]}
