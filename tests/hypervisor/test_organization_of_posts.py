"""How a POST determines its organization: one rule and one set of errors for all routes."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from clusters.models import Cluster
from orgs.models import Membership, Organization, Role
from tests.fixtures.people import ClientFor
from tests.support.answers import refusal
from tests.support.factories import MembershipFactory

pytestmark = pytest.mark.django_db

JOB = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}
BODIES: dict[str, dict[str, Any]] = {
    "/clusters": {"name": "anvil", "cpu": 1, "ram_mib": 1024},
    "/registries": {"host": "ghcr.io", "username": "ci", "password": "hunter2"},
    "/webhooks": {"url": "https://hooks.example.org"},
    "/notices": {"scope": "organization"},
    "/deployments": JOB,
    "/deployments?dry_run=true": JOB,
    "/deployments/bulk": JOB,
    "/deployments/hand-over": {"from_user": 1, "to_user": 2},
}
MANY = ("/deployments/bulk",)
"""The routes whose body has a list of such bodies under `deployments`."""

each_route = pytest.mark.parametrize("path", BODIES)


def refused(client: Any, path: str, status: int, **more: Any) -> dict[str, Any]:
    """Return the route's error, without the path of the list entry in the field's name."""
    body = BODIES[path] | more
    error = refusal(client.post(path, {"deployments": [body]} if path in MANY else body), status)
    if path in MANY:
        entry, number, *field = error["attr"].split(".")
        assert (entry, number) == ("deployments", "0")
        error["attr"] = ".".join(field) or None
    return error


def takes_an_organization(schema: Any, schemas: Any) -> bool:
    """Return whether this schema, or a schema that it refers to, has a field `organization`."""
    if isinstance(schema, list):
        return any(takes_an_organization(each, schemas) for each in schema)
    if not isinstance(schema, dict):
        return False
    if "organization" in schema.get("properties", {}):
        return True
    target = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2])
    return takes_an_organization([target, *schema.values()], schemas)


def test_every_post_that_takes_an_organization_is_tested_here(client: Client) -> None:
    document = json.loads(client.get("/openapi.json").content)
    schemas = document["components"]["schemas"]
    taking = {
        path
        for path, calls in document["paths"].items()
        if takes_an_organization(calls.get("post", {}).get("requestBody"), schemas)
    }

    # A token is not in an organization, but may be limited to one.
    assert taking - {"/tokens"} == {path.partition("?")[0] for path in BODIES}


@each_route
def test_the_error_lists_the_organizations_of_a_member_of_several(
    path: str, client_for: ClientFor, acme: Organization, alice: User
) -> None:
    membership: Membership = MembershipFactory(user=alice, role=Role.OWNER)
    other = membership.organization

    assert refused(client_for(alice), path, 400) == {
        "code": "required",
        "detail": "You are a member of several organizations: give the id of one of them,"
        f" {acme.pk} (Acme), {other.pk} ({other.name}).",
        "attr": "organization",
    }


@each_route
def test_the_error_for_a_member_of_none_explains_how_to_join_one(
    path: str, client_for: ClientFor, charlie: User
) -> None:
    assert refused(client_for(charlie), path, 400) == {
        "code": "required",
        "detail": "You are not a member of any organization: create one, or join one with an invite"
        " code.",
        "attr": "organization",
    }


@each_route
@pytest.mark.parametrize("unknown", [4711, 10**18])
def test_a_foreign_organization_is_not_found(
    path: str, unknown: int, client_for: ClientFor, alice: User, acme: Organization
) -> None:
    assert refused(client_for(alice), path, 404, organization=unknown) == {
        "code": "not_found",
        "detail": f"Organization {unknown} does not exist.",
        "attr": "organization",
    }


@each_route
@pytest.mark.parametrize("wrong", [0, -1, 10**30])
def test_what_is_no_id_is_refused_by_name(
    path: str, wrong: int, client_for: ClientFor, alice: User, acme: Organization
) -> None:
    assert refused(client_for(alice), path, 400, organization=wrong)["attr"] == "organization"


@each_route
def test_the_error_names_a_role_that_is_too_low(
    path: str, client_for: ClientFor, charlie: User, acme: Organization, forge: Cluster
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=Role.VIEWER)

    error = refused(client_for(charlie), path, 403)

    assert error["code"] == "permission_denied"
    assert error["detail"].endswith("yours is viewer. Ask an admin of the organization.")
    assert error["attr"] is None
