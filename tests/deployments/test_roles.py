"""The role table of deployments, row by row."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Role
from tests.fixtures.deployments import Bring, MemberAs
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal

BODY = {"name": "job", "image": "busybox", "cpu": 1, "ram_mib": 1024}

# Method, path, body, the status that it needs, the expected HTTP status.
READS = [
    ("get", "/{id}", None, Status.PENDING, 200),
    ("get", "/{id}/events", None, Status.PENDING, 200),
    ("get", "/{id}/explain", None, Status.PENDING, 200),
]
VERBS = [
    ("put", "/{id}", BODY | {"priority": 9}, Status.PENDING, 200),
    ("patch", "/{id}", {"priority": 9}, Status.RUNNING, 200),
    ("post", "/{id}/start", None, Status.STOPPED, 202),
    ("post", "/{id}/stop", None, Status.RUNNING, 202),
    ("post", "/{id}/cancel", None, Status.PENDING, 200),
    ("post", "/{id}/checkpoint", None, Status.RUNNING, 204),
    ("delete", "/{id}", None, Status.FAILED, 204),
]
HOLDING = [
    ("post", "/{id}/hold", None, Status.PENDING, 200),
    ("post", "/{id}/release", None, Status.PENDING, 200),
]
CALL = ("method", "path", "body", "status", "answer")


def call(client: APIClient, deployment: Deployment, method: str, path: str, body: Any) -> Any:
    return getattr(client, method)(f"/deployments{path}".format(id=deployment.pk), body)


def unchanged(deployment: Deployment) -> bool:
    """Return whether the deployment is unchanged."""
    return Deployment.objects.get(pk=deployment.pk).revision == deployment.revision


@pytest.mark.parametrize(CALL, [*VERBS, *HOLDING])
@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_admins_and_owners_may_act_on_all_deployments(
    bring: Bring, member_as: MemberAs, client_for: ClientFor, role: Role,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    deployment = bring(status)

    response = call(client_for(member_as(role)), deployment, method, path, body)

    assert response.status_code == answer


@pytest.mark.parametrize(CALL, VERBS)
def test_a_developer_may_act_on_their_own_deployments(
    bring: Bring, bob: User, client_for: ClientFor,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    deployment = bring(status, created_by=bob)

    assert call(client_for(bob), deployment, method, path, body).status_code == answer


@pytest.mark.parametrize(CALL, VERBS)
def test_a_developer_may_not_act_on_deployments_of_others(
    bring: Bring, bob: User, alice: User, client_for: ClientFor,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    deployment = bring(status, created_by=alice)

    error = refusal(call(client_for(bob), deployment, method, path, body), 403)

    assert "needs the role admin or higher; yours is developer" in error["detail"]
    assert unchanged(deployment)


@pytest.mark.parametrize(CALL, HOLDING)
def test_a_developer_may_not_hold_or_release_even_their_own_deployments(
    bring: Bring, bob: User, client_for: ClientFor,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    deployment = bring(status, created_by=bob)

    refusal(call(client_for(bob), deployment, method, path, body), 403)

    assert unchanged(deployment)


@pytest.mark.parametrize(CALL, [*VERBS, *HOLDING])
def test_a_viewer_may_not_act_on_deployments_submitted_as_a_developer(
    bring: Bring, member_as: MemberAs, client_for: ClientFor,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    viewer = member_as(Role.VIEWER)
    deployment = bring(status, created_by=viewer)

    error = refusal(call(client_for(viewer), deployment, method, path, body), 403)

    assert "yours is viewer" in error["detail"]
    assert unchanged(deployment)


@pytest.mark.parametrize(CALL, READS)
@pytest.mark.parametrize("role", list(Role))
def test_every_member_may_read(
    bring: Bring, member_as: MemberAs, client_for: ClientFor, role: Role,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    client = client_for(member_as(role))
    deployment = bring(status)

    assert call(client, deployment, method, path, body).status_code == answer
    assert ids(client.get("/deployments")) == [deployment.pk]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    ("role", "answer"),
    [(Role.VIEWER, 403), (Role.DEVELOPER, 201), (Role.ADMIN, 201), (Role.OWNER, 201)],
)
def test_developers_and_higher_may_submit(
    forge: Cluster, member_as: MemberAs, client_for: ClientFor,
    role: Role, answer: int, query: str,
) -> None:  # fmt: skip
    response = client_for(member_as(role)).post(f"/deployments{query}", BODY)

    assert response.status_code == (200 if query and answer == 201 else answer)


@pytest.mark.parametrize(CALL, [*READS, *VERBS, *HOLDING])
def test_a_stranger_finds_nothing(
    bring: Bring, charlie: User, client_for: ClientFor,
    method: str, path: str, body: Any, status: Status, answer: int,
) -> None:  # fmt: skip
    client = client_for(charlie)
    deployment = bring(status, created_by=charlie)

    error = refusal(call(client, deployment, method, path, body), 404)

    assert error["code"] == "not_found"
    assert unchanged(deployment)
    assert ids(client.get("/deployments")) == []


@pytest.mark.parametrize(CALL, [*READS, *VERBS, *HOLDING])
def test_an_anonymous_caller_gets_a_401_everywhere(
    bring: Bring, method: str, path: str, body: Any, status: Status, answer: int
) -> None:
    deployment = bring(status)

    response = call(APIClient(), deployment, method, path, body)

    assert refusal(response, 401)["code"] == "not_authenticated"
    assert unchanged(deployment)


def test_a_platform_operator_has_no_access_through_the_api(
    bring: Bring, olga: User, client_for: ClientFor
) -> None:
    deployment = bring(Status.PENDING)

    assert ids(client_for(olga).get("/deployments")) == []
    refusal(client_for(olga).post(f"/deployments/{deployment.pk}/cancel"), 404)
