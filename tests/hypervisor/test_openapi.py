import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client

from accounts.models import User
from clusters.resources import parse_cpu, parse_ram_mib
from hypervisor import csp
from orgs.models import Organization
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs
from tests.support.openapi import problems

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(client: Client) -> Any:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    return json.loads(response.content)


def calls(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method, path, call)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    ]


def test_the_document_is_valid_and_complete(tmp_path: Any) -> None:
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "openapi.yaml")
    )


def test_every_call_has_a_name_a_summary_and_a_known_tag(document: Any) -> None:
    topics = {tag["name"] for tag in document["tags"]}
    names = [call["operationId"] for _method, _path, call in calls(document)]

    assert len(set(names)) == len(names)
    unclear = [name for name in names if "_" not in name and name != "register"]
    assert not unclear, f"Give them an `operation_id` of a verb and a noun: {unclear}"
    assert all(call["summary"] for _method, _path, call in calls(document))
    assert all(set(call["tags"]) <= topics for _method, _path, call in calls(document))


def test_every_error_is_described_once_and_in_the_common_format(document: Any) -> None:
    shape = {"$ref": "#/components/schemas/Error"}
    for response in document["components"]["responses"].values():
        assert response["content"]["application/json"]["schema"] == shape
    for _method, path, call in calls(document):
        errors = {code: body for code, body in call["responses"].items() if code >= "400"}
        assert errors, path
        for error in errors.values():
            assert error["$ref"].startswith("#/components/responses/")


def test_every_header_is_described_once(document: Any) -> None:
    for method, path, call in calls(document):
        for status, response in call["responses"].items():
            for name, header in response.get("headers", {}).items():
                assert header == {"$ref": f"#/components/headers/{name}"}, (method, path, status)


def test_every_call_except_registration_and_log_in_needs_a_token(document: Any) -> None:
    public = {path for _method, path, call in calls(document) if "401" not in call["responses"]}

    assert public == {"/register"}
    assert {p for _m, p, call in calls(document) if not call.get("security", [{}])[0]} == {
        "/register",
        "/token",
        "/token/refresh",
    }


def test_the_authorize_button_asks_for_a_password(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]

    assert schemes["password"]["type"] == "oauth2"
    assert schemes["password"]["flows"]["password"]["tokenUrl"] == "/token"


def test_every_call_with_a_token_takes_either_kind(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]
    kinds = [call["security"] for _method, _path, call in calls(document) if call.get("security")]

    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")
    assert [{"password": []}, {"token": []}] in kinds
    assert all(each in ([{"password": []}, {"token": []}], [{}]) for each in kinds)


def test_every_repeatable_post_documents_the_idempotency_key(document: Any) -> None:
    with_key = {
        path
        for method, path, call in calls(document)
        if method == "post"
        and "Idempotency-Key" in {parameter["name"] for parameter in call.get("parameters", [])}
    }

    assert {"/deployments", "/clusters", "/organizations", "/join-organization"} <= with_key
    assert not {"/register", "/token"} & with_key


def test_the_page_loads_nothing_from_other_hosts_and_runs_no_inline_script(client: Client) -> None:
    response = client.get("/docs")
    page = response.content.decode()

    assert response.headers["Content-Security-Policy"] == csp.DOCS
    assert not re.search(r"<script[^>]*>[^<]*\S[^<]*</script>", page)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    for source in re.findall(r"(?:src|href)=\"/static/([^\"]+)\"", page):
        assert finders.find(source), source
    assert "script=" in page
    script = client.get("/docs?script=")
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "/openapi.json" in script.content.decode()


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/me", csp.STRICT),
        ("/nowhere", csp.STRICT),
        ("/admin/", csp.ADMIN),
        ("/account/sign-in/", csp.STRICT),
    ],
)
def test_every_response_has_a_content_security_policy(
    client: Client, path: str, policy: str
) -> None:
    assert client.get(path).headers["Content-Security-Policy"] == policy
    assert "unsafe" not in csp.STRICT


def test_lists_document_their_pages_and_all_filtered_calls_their_filters(document: Any) -> None:
    def parameters(path: str, method: str) -> set[str]:
        return {each["name"] for each in document["paths"][path][method]["parameters"]}

    pages = {"limit", "cursor", "offset"}
    filters = parameters("/deployments", "get") - pages - {"ordering"}

    assert pages | {"ordering"} < parameters("/deployments", "get")
    assert pages < parameters("/organizations/{id}/members", "get")
    for verb in ("cancel", "stop", "start", "hold", "release", "priority"):
        assert parameters(f"/deployments/{verb}", "post") == {
            *filters, "dry_run", "all", "limit", "Idempotency-Key",
        }  # fmt: skip
        has_body = "requestBody" in document["paths"][f"/deployments/{verb}"]["post"]
        assert has_body == (verb == "priority")
    (status,) = (
        each for each in document["paths"]["/deployments"]["get"]["parameters"]
        if each["name"] == "status"
    )  # fmt: skip
    assert (status["schema"]["type"], status["explode"]) == ("array", True)
    for each in document["paths"]["/deployments"]["get"]["parameters"]:
        assert each.get("description"), each["name"]


def test_the_schema_forbids_an_empty_parameter(document: Any) -> None:
    for _method, path, call in calls(document):
        for parameter in call.get("parameters", []):
            value = parameter["schema"].get("items", parameter["schema"])
            if value.get("type") == "string" and "enum" not in value:
                assert value["minLength"] == 1, (path, parameter["name"])


def test_an_ordering_lists_its_fields(document: Any) -> None:
    (ordering,) = (
        each
        for each in document["paths"]["/clusters"]["get"]["parameters"]
        if each["name"] == "ordering"
    )

    assert "id, name, state, created_at" in ordering["description"]


def test_a_generated_client_sends_json_bodies_and_numeric_ids(document: Any) -> None:
    for _method, path, call in calls(document):
        for parameter in call.get("parameters", []):
            if parameter["in"] == "path":
                assert parameter["schema"]["type"] == "integer", path
        if "requestBody" in call:
            assert list(call["requestBody"]["content"]) == ["application/json"], path


def test_no_schema_is_described_to_the_authors_of_the_code(document: Any) -> None:
    schemas = document["components"]["schemas"]
    said = {name: schema.get("description", "").lower() for name, schema in schemas.items()}

    assert not [name for name, text in said.items() if "serializer" in text or "()" in text]


def body_of(call: Any) -> str:
    """Return the name of the schema of the call's body."""
    reference: str = call["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return reference.rsplit("/")[-1]


def test_a_patch_has_no_defaults_that_a_client_would_send(document: Any) -> None:
    patches = [body_of(call) for method, _path, call in calls(document) if method == "patch"]
    schemas = document["components"]["schemas"]

    assert "DeploymentChange" in patches
    for name in patches:
        assert name.endswith("Change")
        assert not [f for f in schemas[name]["properties"].values() if "default" in f], name
    assert schemas["DeploymentRequest"]["properties"]["priority"]["default"] == 50


def objects(schema: Any) -> Iterator[Any]:
    """Yield each schema of an object with known properties within the schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for inner in schema.values():
            yield from objects(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from objects(inner)


def test_every_body_is_closed_except_the_log_in(document: Any) -> None:
    for _method, path, call in calls(document):
        if "requestBody" in call and path != "/token":
            name = body_of(call)
            for each in objects(document["components"]["schemas"][name]):
                assert each.get("additionalProperties") is False, (
                    f"{name}, the body of {path}, is open: derive its serializer from"
                    " StrictSerializer, and describe an object in a field by `closed`."
                )


def test_every_choice_has_a_name(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert not name.endswith("Enum"), (
            f"Name the choices {schema['enum']} in ENUM_NAME_OVERRIDES in hypervisor/settings.py."
        )


def test_an_answer_has_every_field_and_no_defaults(document: Any) -> None:
    optional = {"Scattered", "ClusterObstacle", "DryRun"}
    requests = {name for name in document["components"]["schemas"] if name.endswith("Request")}
    requests |= {"PreferredValues", "AvoidedValues", "PreferredLabel"}
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema and name not in requests and not name.endswith("Change"):
            lacking = set(schema["properties"]) - set(schema.get("required", []))
            lacking -= {"preview"}  # only in the answer of a dry run
            assert not lacking or name in optional, (name, lacking)
            assert not [f for f in schema["properties"].values() if "readOnly" in f], name


def test_amounts_are_numbers_in_answers_and_may_be_quantities_in_bodies(document: Any) -> None:
    schemas = document["components"]["schemas"]

    for name in ("Deployment", "Cluster", "Node", "Missing", "Amounts"):
        fields = schemas[name]["properties"]
        assert (fields["cpu"]["type"], fields["ram_mib"]["type"]) == ("number", "integer")
    for name in ("DeploymentRequest", "ClusterRequest", "NewNodeRequest"):
        for field in ("cpu", "ram_mib"):
            assert len(schemas[name]["properties"][field]["oneOf"]) == 2


def test_a_new_row_names_its_path(
    document: Any, alice: User, acme: Organization, client_for: ClientFor
) -> None:
    response = client_for(alice).post("/clusters", {"name": "anvil", "cpu": 1, "ram_mib": 1024})

    assert response.headers["Location"] == f"/clusters/{response.json()['id']}"


def test_a_number_is_no_text(alice: User, acme: Organization, client_for: ClientFor) -> None:
    job = {"name": "job", "image": "ml/train:1", "cpu": 1, "ram_mib": 1024}

    for wrong in ({"name": 1.10}, {"image": 7}, {"command": ["train", 1]}, {"env": {"EPOCHS": 40}}):
        response = client_for(alice).post("/deployments", {**job, **wrong})
        (field,) = wrong
        assert {name.partition(".")[0] for name in attrs(response)} == {field}


def test_a_change_without_a_field_changes_nothing(
    alice: User, bob: User, acme: Organization, client_for: ClientFor
) -> None:
    response = client_for(alice).patch(f"/organizations/{acme.pk}/members/{bob.pk}", {})

    assert (response.status_code, response.json()["role"]) == (200, "developer")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("cpu", ["500m", "0.001", "2.5", "9999999"], ["0", "0m", "0.000", "0.5m", "10000001"]),
        ("ram_mib", ["8Gi", "0.5Gi", "1k", "999Pi", "2048Mi"], ["0Gi", "0.000Gi", "8", "2000P"]),
    ],
)
def test_the_pattern_of_a_quantity_agrees_with_the_field(
    document: Any, field: str, good: list[str], bad: list[str]
) -> None:
    schema = document["components"]["schemas"]["ClusterRequest"]["properties"][field]
    reads = {"cpu": parse_cpu, "ram_mib": parse_ram_mib}[field]

    for text in good:
        assert problems(text, schema) == []
        assert reads(text) > 0
    for text in bad:
        assert problems(text, schema)


def test_no_schema_has_a_field_of_its_own_name(document: Any) -> None:
    for name, schema in document["components"]["schemas"].items():
        fields = {field.replace("_", "") for field in schema.get("properties", {})}
        assert name.lower() not in fields, (
            f"{name} has a field of that name, for which openapi-python-client generates wrong"
            " code: rename the serializer, or give it a component_name."
        )
