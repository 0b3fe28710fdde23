"""The JSON Schema of the files that `hv submit` takes, from the API's own description.

`python3 manage.py shell -c "from tests.support import job_schema; job_schema.write()"` writes it.
"""

import json
from pathlib import Path
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from hypervisor.openapi.json_schema import converted
from hypervisor.standalone.bootstrap import ROOT

FILE: Path = ROOT / "client" / "hypervisor_client" / "job.schema.json"


def expected() -> dict[str, Any]:
    """Return the schema: the body of a submission, of which `hv` fills in all but the image."""
    generator: Any = SchemaGenerator
    components = generator().get_schema(public=True)["components"]["schemas"]
    definitions: dict[str, Any] = {}
    body = converted(components["DeploymentRequest"], components, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A deployment for hv submit",
        **body,
        "required": ["image"],
        "$defs": dict(sorted(definitions.items())),
    }


def write() -> None:
    FILE.write_text(json.dumps(expected(), indent=2) + "\n")
