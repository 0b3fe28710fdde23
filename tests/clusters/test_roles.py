"""The role table for clusters, row by row."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from orgs.models import Role
from tests.fixtures.deployments import MemberAs
from tests.fixtures.people import ClientFor
from tests.support.answers import ids, refusal

WRITES = [
    ("post", "", {"name": "new", "cpu": 1, "ram_mib": 1}, 201),
    ("put", "/{id}", {"name": "renamed", "cpu": 8, "ram_mib": 16384}, 200),
    ("patch", "/{id}", {"name": "renamed"}, 200),
    ("post", "/{id}/cordon", None, 200),
    ("post", "/{id}/uncordon", None, 200),
    ("post", "/{id}/drain", None, 200),
    ("delete", "/{id}", None, 204),
]
ALL = [("get", "/{id}", None, 200), *WRITES]


def call(client: APIClient, cluster: Cluster, method: str, path: str, body: Any) -> Any:
    return getattr(client, method)(f"/clusters{path}".format(id=cluster.pk), body)


@pytest.mark.parametrize(("method", "path", "body", "status"), WRITES)
@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_admins_and_owners_may_change_clusters(
    forge: Cluster, member_as: MemberAs, client_for: ClientFor, role: Role,
    method: str, path: str, body: Any, status: int,
) -> None:  # fmt: skip
    client = client_for(member_as(role))

    assert call(client, forge, method, path, body).status_code == status


@pytest.mark.parametrize(("method", "path", "body", "status"), WRITES)
@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_viewers_and_developers_may_not_and_learn_which_role_is_needed(
    forge: Cluster, member_as: MemberAs, client_for: ClientFor, role: Role,
    method: str, path: str, body: Any, status: int,
) -> None:  # fmt: skip
    client = client_for(member_as(role))

    error = refusal(call(client, forge, method, path, body), 403)

    assert error["code"] == "permission_denied"
    assert f"needs the role admin or higher; yours is {role}" in error["detail"]
    forge.refresh_from_db()
    assert (forge.name, forge.state) == ("forge", "active")


@pytest.mark.parametrize("role", list(Role))
def test_every_member_may_read(
    forge: Cluster, member_as: MemberAs, client_for: ClientFor, role: Role
) -> None:
    client = client_for(member_as(role))

    assert ids(client.get("/clusters")) == [forge.pk]
    assert client.get(f"/clusters/{forge.pk}").status_code == 200


@pytest.mark.parametrize(("method", "path", "body", "status"), ALL)
def test_a_stranger_finds_nothing(
    forge: Cluster, globex_cluster: Cluster, charlie: User, client_for: ClientFor,
    method: str, path: str, body: Any, status: int,
) -> None:  # fmt: skip
    client = client_for(charlie)
    aimed = body and body | {"organization": forge.organization_id}

    error = refusal(call(client, forge, method, path, aimed), 404)

    assert error["code"] == "not_found"
    assert Cluster.objects.filter(name="forge", state="active").count() == 1
    assert ids(client.get("/clusters")) == [globex_cluster.pk]


@pytest.mark.parametrize(("method", "path", "body", "status"), ALL)
def test_an_anonymous_caller_is_refused_everywhere(
    forge: Cluster, method: str, path: str, body: Any, status: int
) -> None:
    response = call(APIClient(), forge, method, path, body)

    assert refusal(response, 401)["code"] == "not_authenticated"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_platform_operator_has_no_access_through_the_api(
    forge: Cluster, olga: User, client_for: ClientFor
) -> None:
    client = client_for(olga)

    assert ids(client.get("/clusters")) == []
    refusal(client.post(f"/clusters/{forge.pk}/drain"), 404)
