import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.deployments import Submit
from tests.fixtures.people import ClientFor
from tests.support.factories import MembershipFactory

pytestmark = pytest.mark.django_db


def test_the_creator_of_an_organization_owns_it(client_for: ClientFor, charlie: User) -> None:
    response = client_for(charlie).post("/organizations", {"name": "Initech"})

    assert response.status_code == 201
    body = response.json()
    assert (body["name"], body["role"], body["member_count"]) == ("Initech", "owner", 1)
    assert body["invite_code"]
    assert Event.objects.get(organization=body["id"]).actor == "charlie"


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, None])
def test_a_name_is_needed(client_for: ClientFor, charlie: User, name: str | None) -> None:
    response = client_for(charlie).post("/organizations", {"name": name})

    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "name"


def test_users_see_only_their_organizations(
    client_for: ClientFor, acme: Organization, bob: User
) -> None:
    Organization.objects.create(name="Elsewhere")

    body = client_for(bob).get("/organizations").json()

    assert [row["id"] for row in body["results"]] == [acme.pk]


def test_a_list_is_paginated_and_ordered_as_requested(client_for: ClientFor, bob: User) -> None:
    for name in ("Beta", "Alpha", "Gamma"):
        MembershipFactory(user=bob, organization__name=name)

    body = client_for(bob).get("/organizations", {"ordering": "-name", "limit": "2"}).json()

    assert [row["name"] for row in body["results"]] == ["Gamma", "Beta"]
    assert body["count"] == 3
    rest = client_for(bob).get(body["next"]).json()
    assert [row["name"] for row in rest["results"]] == ["Alpha"]


def test_a_list_needs_two_queries_for_ten_organizations(
    client_for: ClientFor, bob: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    MembershipFactory.create_batch(10, user=bob)
    client = client_for(bob)

    with django_assert_num_queries(2):
        assert client.get("/organizations").json()["count"] == 10


@pytest.mark.parametrize(
    ("role", "visible"),
    [(Role.OWNER, True), (Role.ADMIN, True), (Role.DEVELOPER, False), (Role.VIEWER, False)],
)
def test_only_admins_and_owners_see_the_invite_code(
    client_for: ClientFor, acme: Organization, charlie: User, role: Role, visible: bool
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=role)

    body = client_for(charlie).get(f"/organizations/{acme.pk}").json()

    assert (body["invite_code"] is not None) == visible
    assert (body["role"], body["member_count"]) == (role, 3)


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.DEVELOPER, 403), (Role.VIEWER, 403)],
)
def test_admins_can_rename_an_organization(
    client_for: ClientFor, acme: Organization, charlie: User, role: Role, status: int
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=role)

    for method in ("put", "patch"):
        send = getattr(client_for(charlie), method)
        response = send(f"/organizations/{acme.pk}", {"name": f"By {method}"})
        assert response.status_code == status

    acme.refresh_from_db()
    assert acme.name == ("By patch" if status == 200 else "Acme")


def test_the_response_of_a_get_can_be_put_back(
    client_for: ClientFor, acme: Organization, alice: User
) -> None:
    client = client_for(alice)
    body = client.get(f"/organizations/{acme.pk}").json()

    response = client.put(f"/organizations/{acme.pk}", body)

    assert (response.status_code, response.json()) == (200, body)


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.DEVELOPER, 403), (Role.VIEWER, 403)],
)
def test_admins_can_replace_the_invite_code(
    client_for: ClientFor, acme: Organization, charlie: User, role: Role, status: int
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=role)
    before = acme.invite_code

    response = client_for(charlie).post(f"/organizations/{acme.pk}/regenerate-invite")

    assert response.status_code == status
    acme.refresh_from_db()
    assert (acme.invite_code != before) == (status == 200)


def test_a_replaced_invite_code_stops_working_at_once(
    client_for: ClientFor, acme: Organization, alice: User, charlie: User
) -> None:
    before = acme.invite_code
    answer = client_for(alice).post(f"/organizations/{acme.pk}/regenerate-invite").json()

    client = client_for(charlie)
    assert client.post("/join-organization", {"invite_code": before}).status_code == 404
    joined = client.post("/join-organization", {"invite_code": answer["invite_code"]})
    assert joined.status_code == 200


def test_joining_with_a_code_makes_a_developer(
    client_for: ClientFor, acme: Organization, charlie: User
) -> None:
    response = client_for(charlie).post("/join-organization", {"invite_code": acme.invite_code})

    assert response.status_code == 200
    assert response.json() == {
        "organization": {"id": acme.pk, "name": "Acme"},
        "role": "developer",
    }


def test_a_member_cannot_join_again(client_for: ClientFor, acme: Organization, bob: User) -> None:
    response = client_for(bob).post("/join-organization", {"invite_code": acme.invite_code})

    assert response.status_code == 409
    assert acme.memberships.filter(user=bob).count() == 1


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 204), (Role.ADMIN, 403), (Role.DEVELOPER, 403), (Role.VIEWER, 403)],
)
def test_only_owners_can_delete_an_organization(
    client_for: ClientFor, acme: Organization, charlie: User, role: Role, status: int
) -> None:
    Membership.objects.create(organization=acme, user=charlie, role=role)

    response = client_for(charlie).delete(f"/organizations/{acme.pk}")

    assert response.status_code == status
    assert Organization.objects.filter(pk=acme.pk).exists() == (status != 204)


@pytest.mark.parametrize("status", ["starting", "running", "stopping"])
def test_an_organization_with_active_deployments_cannot_be_deleted(
    client_for: ClientFor,
    acme: Organization,
    alice: User,
    forge: Cluster,
    submit: Submit,
    status: str,
) -> None:
    deployment = submit()
    Deployment.objects.filter(pk=deployment.pk).update(status=status, cluster=forge)

    response = client_for(alice).delete(f"/organizations/{acme.pk}")

    assert response.status_code == 409
    assert "active deployments" in response.json()["errors"][0]["detail"]


def test_deleting_an_organization_deletes_everything_in_it(
    client_for: ClientFor, acme: Organization, alice: User, forge: Cluster, submit: Submit
) -> None:
    submit()

    response = client_for(alice).delete(f"/organizations/{acme.pk}")

    assert response.status_code == 204
    assert not Deployment.objects.filter(status=Status.PENDING).exists()
    assert not Event.objects.exists()
