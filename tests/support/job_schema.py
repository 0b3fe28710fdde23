"""The JSON Schema of the files that `hv submit` takes, from the API's own description.

`python3 manage.py shell -c "from tests.support import job_schema; job_schema.write()"` writes it.
"""

import json
from pathlib import Path
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from hypervisor.standalone.bootstrap import ROOT

FILE: Path = ROOT / "client" / "hypervisor_client" / "job.schema.json"
_PREFIX = "#/components/schemas/"


def expected() -> dict[str, Any]:
    """Return the schema: the body of a submission, of which `hv` fills in all but the image."""
    generator: Any = SchemaGenerator
    components = generator().get_schema(public=True)["components"]["schemas"]
    definitions: dict[str, Any] = {}
    body = _with_definitions(components["DeploymentRequest"], components, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A deployment for hv submit",
        **body,
        "required": ["image"],
        "$defs": dict(sorted(definitions.items())),
    }


def _with_definitions(schema: Any, components: dict[str, Any], found: dict[str, Any]) -> Any:
    """Return the schema with references into `$defs`; add what they refer to to `found`."""
    if isinstance(schema, list):
        return [_with_definitions(each, components, found) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: _with_definitions(each, components, found) for name, each in schema.items()}
    reference = copied.get("$ref", "")
    if isinstance(reference, str) and reference.startswith(_PREFIX):
        name = reference.removeprefix(_PREFIX)
        copied["$ref"] = f"#/$defs/{name}"
        if name not in found:
            found[name] = {}
            found[name] = _with_definitions(components[name], components, found)
    return _or_null(copied) if copied.pop("nullable", False) is True else copied


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Say `nullable`, which only OpenAPI knows, in JSON Schema."""
    described: dict[str, Any] = {
        name: schema.pop(name) for name in ("description", "default") if name in schema
    }
    return {**described, "anyOf": [schema, {"type": "null"}]}


def write() -> None:
    FILE.write_text(json.dumps(expected(), indent=2) + "\n")
