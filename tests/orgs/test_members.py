import threading
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.models import User
from hypervisor.base.errors import Conflict, DomainError, Forbidden
from orgs import services
from orgs.models import Event, Membership, Organization, Role
from tests.fixtures.people import ClientFor
from tests.support.factories import UserFactory
from tests.support.locks import run_second_during_first

pytestmark = pytest.mark.django_db

OWNER, ADMIN, DEVELOPER, VIEWER = Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER


def member_of(organization: Organization, role: Role) -> User:
    user: User = UserFactory()
    Membership.objects.create(organization=organization, user=user, role=role)
    return user


def role_in(organization: Organization, user: User) -> str:
    return Membership.objects.get(organization=organization, user=user).role


def path(organization: Organization, user: User) -> str:
    return f"/organizations/{organization.pk}/members/{user.pk}"


def test_every_member_can_list_the_members(
    client_for: ClientFor, acme: Organization, alice: User, bob: User
) -> None:
    viewer = member_of(acme, VIEWER)

    body = client_for(viewer).get(f"/organizations/{acme.pk}/members").json()

    assert body["count"] == 3
    assert body["results"][0]["user"] == {"id": alice.pk, "username": "alice"}
    assert [row["role"] for row in body["results"]] == ["owner", "developer", "viewer"]
    assert body["results"][0]["joined_at"].endswith("Z")


@pytest.mark.parametrize(
    ("actor", "before", "after", "status"),
    [
        (OWNER, ADMIN, VIEWER, 200),
        (OWNER, DEVELOPER, ADMIN, 200),
        (OWNER, DEVELOPER, OWNER, 200),
        (OWNER, OWNER, ADMIN, 403),
        (ADMIN, DEVELOPER, VIEWER, 200),
        (ADMIN, VIEWER, DEVELOPER, 200),
        (ADMIN, DEVELOPER, ADMIN, 403),
        (ADMIN, DEVELOPER, OWNER, 403),
        (ADMIN, ADMIN, DEVELOPER, 403),
        (ADMIN, OWNER, VIEWER, 403),
        (DEVELOPER, VIEWER, DEVELOPER, 403),
        (DEVELOPER, DEVELOPER, VIEWER, 403),
        (VIEWER, VIEWER, DEVELOPER, 403),
    ],
)
def test_a_member_can_change_only_roles_below_their_own(
    client_for: ClientFor, acme: Organization, actor: Role, before: Role, after: Role, status: int
) -> None:
    member, boss = member_of(acme, before), member_of(acme, actor)

    response = client_for(boss).patch(path(acme, member), {"role": after})

    assert response.status_code == status
    assert role_in(acme, member) == (after if status == 200 else before)


@pytest.mark.parametrize(
    ("actor", "role", "status"),
    [
        (OWNER, ADMIN, 204),
        (OWNER, DEVELOPER, 204),
        (OWNER, OWNER, 403),
        (ADMIN, DEVELOPER, 204),
        (ADMIN, VIEWER, 204),
        (ADMIN, ADMIN, 403),
        (ADMIN, OWNER, 403),
        (DEVELOPER, VIEWER, 403),
        (VIEWER, VIEWER, 403),
    ],
)
def test_a_member_can_remove_only_members_with_a_lower_role(
    client_for: ClientFor, acme: Organization, actor: Role, role: Role, status: int
) -> None:
    member, boss = member_of(acme, role), member_of(acme, actor)

    response = client_for(boss).delete(path(acme, member))

    assert response.status_code == status
    assert acme.memberships.filter(user=member).exists() == (status != 204)


@pytest.mark.parametrize("role", [ADMIN, DEVELOPER, VIEWER])
def test_every_member_may_leave(client_for: ClientFor, acme: Organization, role: Role) -> None:
    member = member_of(acme, role)

    assert client_for(member).delete(path(acme, member)).status_code == 204
    assert client_for(member).get(f"/organizations/{acme.pk}").status_code == 404


def test_members_cannot_raise_their_own_role(
    client_for: ClientFor, acme: Organization, bob: User
) -> None:
    admin = member_of(acme, ADMIN)

    assert client_for(admin).patch(path(acme, admin), {"role": "owner"}).status_code == 403
    assert client_for(bob).patch(path(acme, bob), {"role": "admin"}).status_code == 403


def test_an_owner_can_step_down_if_there_is_another(
    client_for: ClientFor, acme: Organization, alice: User
) -> None:
    member_of(acme, OWNER)

    response = client_for(alice).patch(path(acme, alice), {"role": "viewer"})

    assert response.status_code == 200
    assert response.json()["role"] == "viewer"


def test_the_last_owner_can_neither_leave_nor_step_down(
    client_for: ClientFor, acme: Organization, alice: User
) -> None:
    client = client_for(alice)

    for response in (
        client.delete(path(acme, alice)),
        client.patch(path(acme, alice), {"role": "admin"}),
    ):
        assert response.status_code == 409
        assert "another member an owner" in response.json()["errors"][0]["detail"]
    assert role_in(acme, alice) == OWNER


def test_a_non_member_can_be_neither_changed_nor_removed(
    client_for: ClientFor, acme: Organization, alice: User, charlie: User
) -> None:
    client = client_for(alice)

    assert client.patch(path(acme, charlie), {"role": "viewer"}).status_code == 404
    assert client.delete(path(acme, charlie)).status_code == 404


@pytest.mark.parametrize("role", ["king", "", None, 3])
def test_an_unknown_role_is_refused(
    client_for: ClientFor, acme: Organization, alice: User, bob: User, role: object
) -> None:
    response = client_for(alice).patch(path(acme, bob), {"role": role})

    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "role"


def test_each_change_of_members_is_recorded(
    client_for: ClientFor, acme: Organization, alice: User, bob: User, charlie: User
) -> None:
    client_for(charlie).post("/join-organization", {"invite_code": acme.invite_code})
    client_for(alice).patch(path(acme, bob), {"role": "admin"})
    client_for(bob).delete(path(acme, charlie))

    recorded = Event.objects.filter(organization=acme).values_list("kind", "actor", "data__user")
    assert list(recorded) == [
        ("member_joined", "charlie", None),
        ("role_changed", "alice", bob.pk),
        ("member_removed", "bob", charlie.pk),
    ]


def at_once(*verbs: Callable[[], None]) -> list[DomainError | None]:
    """Call all of them concurrently, each in its own thread; return the error that each raised."""
    barrier = threading.Barrier(len(verbs))
    refusals: list[DomainError | None] = [None] * len(verbs)

    def call(index: int) -> None:
        try:
            barrier.wait(10)
            verbs[index]()
        except DomainError as refusal:
            refusals[index] = refusal
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(verbs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return refusals


def leaving(organization: Organization, user: User) -> Callable[[], None]:
    def leave() -> None:
        services.remove_member(organization, actor=user.username, authority=user, user_id=user.pk)

    return leave


@pytest.mark.django_db(transaction=True)
def test_one_of_two_owners_who_leave_concurrently_stays(acme: Organization, alice: User) -> None:
    other = member_of(acme, OWNER)

    refusals = at_once(leaving(acme, alice), leaving(acme, other))

    assert sorted(isinstance(refusal, Conflict) for refusal in refusals) == [False, True]
    assert acme.memberships.filter(role=OWNER).count() == 1


@pytest.mark.django_db(transaction=True)
def test_joining_twice_concurrently_makes_one_membership(acme: Organization, charlie: User) -> None:
    def join() -> None:
        services.join(charlie, invite_code=acme.invite_code)

    refusals = at_once(join, join)

    assert sorted(isinstance(refusal, Conflict) for refusal in refusals) == [False, True]
    assert acme.memberships.filter(user=charlie).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_member_who_is_demoted_during_a_change_cannot_complete_it(
    acme: Organization, alice: User
) -> None:
    admin, viewer = member_of(acme, ADMIN), member_of(acme, VIEWER)

    def change(by: User, member: User, role: Role) -> Callable[[], object]:
        return lambda: services.change_role(
            acme, actor=by.username, authority=by, user_id=member.pk, role=role
        )

    refusal = run_second_during_first(
        change(alice, admin, VIEWER), change(admin, viewer, DEVELOPER)
    )

    assert isinstance(refusal, Forbidden)
    assert role_in(acme, viewer) == VIEWER
