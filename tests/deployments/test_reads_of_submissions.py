"""A submission reads its caller, the caller's roles and the nodes by one message to the database.

The tests use tokens, because only their users are read with what else a call needs.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from accounts.models import User
from clusters.models import Cluster, Node
from deployments.insertion import AT_ONCE
from deployments.models import Deployment
from orgs.models import ApiToken, Membership, Organization, Role
from orgs.tokens import services
from orgs.tokens.grants import Scope
from tests.support.answers import refusal
from tests.support.factories import make_cluster

BODY = {"name": "train", "image": "pytorch", "cpu": 1, "ram_mib": 1024}


@pytest.fixture
def api(bob: User, forge: Cluster) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(bob)}")
    return client


@pytest.fixture
def other(bob: User) -> Organization:
    """Another organization of bob, with a smaller cluster."""
    organization = Organization.objects.create(name="Other")
    Membership.objects.create(organization=organization, user=bob, role=Role.DEVELOPER)
    make_cluster(organization, "small", cpu_milli=2000, ram_mib=2048, gpu=0)
    return organization


@pytest.fixture
def program(bob: User, forge: Cluster) -> APIClient:
    """A client with an API token that has been used within the last minute."""
    token, text = services.create(bob, name="ci", scope=Scope.SUBMIT)
    services.record_use(token, timezone.now())
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def statements(api: APIClient, path: str, body: Any) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert api.post(path, body).status_code == 201
    return len(queries)


@pytest.mark.parametrize("path", ["/deployments", "/deployments/bulk"])
@pytest.mark.parametrize("is_named", [True, False])
def test_two_messages_are_enough_for_a_user_of_one_organization(
    api: APIClient, acme: Organization, path: str, is_named: bool
) -> None:
    row = {**BODY, "organization": acme.pk} if is_named else BODY
    body = {"deployments": [row, row]} if path.endswith("bulk") else row
    api.post(path, body)  # It counts what is pending.

    assert statements(api, path, body) == 2


def test_two_messages_are_enough_for_a_program(program: APIClient) -> None:
    program.post("/deployments", BODY)

    assert statements(program, "/deployments", BODY) == 2


def test_each_request_of_a_program_sees_its_present_token_and_role(program: APIClient) -> None:
    assert program.post("/deployments", BODY).status_code == 201

    Membership.objects.update(role=Role.VIEWER)
    assert refusal(program.post("/deployments", BODY), 403)["code"] == "permission_denied"
    Membership.objects.update(role=Role.DEVELOPER)
    ApiToken.objects.update(scope=Scope.READ)
    assert refusal(program.post("/deployments", BODY), 403)["code"] == "token_scope"
    ApiToken.objects.update(scope=Scope.SUBMIT, expires_at=timezone.now() - timedelta(seconds=1))
    refusal(program.post("/deployments", BODY), 401)
    ApiToken.objects.all().delete()
    refusal(program.post("/deployments", BODY), 401)


def test_a_submission_works_before_migrate_has_added_its_function(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AT_ONCE, "_is_installed", False)
    monkeypatch.setattr(AT_ONCE, "_look_at", float("inf"))

    assert api.post("/deployments", BODY).status_code == 201
    assert api.post("/deployments", BODY).status_code == 201


def test_a_user_of_several_organizations_submits_to_the_named_one(
    api: APIClient, acme: Organization, other: Organization
) -> None:
    for organization in (acme, other):
        assert (
            api.post("/deployments", {**BODY, "organization": organization.pk}).status_code == 201
        )

    assert set(Deployment.objects.values_list("organization", flat=True)) == {acme.pk, other.pk}
    assert refusal(api.post("/deployments", BODY), 400)["code"] == "required"


def test_only_the_nodes_of_the_named_organization_count(
    api: APIClient, acme: Organization, other: Organization
) -> None:
    large = {**BODY, "cpu": 3}

    refused = api.post("/deployments", {**large, "organization": other.pk})

    assert refusal(refused, 400)["code"] == "exceeds_capacity"
    assert api.post("/deployments", {**large, "organization": acme.pk}).status_code == 201


def test_each_request_sees_the_present_role_and_the_present_nodes(
    api: APIClient, forge: Cluster
) -> None:
    assert api.post("/deployments", BODY).status_code == 201

    Node.objects.update(cpu_milli=500)
    assert refusal(api.post("/deployments", BODY), 400)["code"] == "exceeds_capacity"
    Membership.objects.update(role=Role.VIEWER)
    refusal(api.post("/deployments", BODY), 403)
    Membership.objects.all().delete()
    refusal(api.post("/deployments", BODY), 400)
    refusal(api.post("/deployments", {**BODY, "organization": forge.organization_id}), 404)


def test_a_user_of_very_many_organizations_may_name_any(api: APIClient, bob: User) -> None:
    organizations = [Organization.objects.create(name=f"Team {n}") for n in range(15)]
    for organization in organizations:
        Membership.objects.create(organization=organization, user=bob, role=Role.DEVELOPER)
        make_cluster(organization, "one", cpu_milli=1000, ram_mib=1024)

    for organization in organizations:
        response = api.post("/deployments", {**BODY, "organization": organization.pk})
        assert response.data["organization"] == organization.pk
