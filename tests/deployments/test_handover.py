"""Deployments of members who leave an organization."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from deployments.choices import ENDED, LIVE, Status
from orgs import services as org_services
from orgs.models import Event, Membership, Organization, Role
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from tests.fixtures.deployments import Bring, MemberAs
from tests.fixtures.people import ClientFor
from tests.support.answers import attrs, ids, refusal

pytestmark = pytest.mark.django_db


def remove(client_for: ClientFor, actor: User, organization: Organization, user: User) -> Any:
    return client_for(actor).delete(f"/organizations/{organization.pk}/members/{user.pk}")


def hand_over(client_for: ClientFor, actor: User, from_user: User, to_user: User) -> Any:
    body = {"from_user": from_user.pk, "to_user": to_user.pk}
    return client_for(actor).post("/deployments/hand-over", body)


def test_the_response_and_the_event_of_a_removal_list_what_is_left(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    for status in (Status.PENDING, Status.PENDING, Status.RUNNING, Status.COMPLETED):
        bring(status)

    answer = remove(client_for, alice, acme, bob)

    left = {"deployments": {"pending": 2, "running": 1}}
    assert (answer.status_code, answer.json()) == (200, {"left": left})
    event = Event.objects.get(kind="member_removed")
    assert event.data == {"user": bob.pk, "left": left}
    assert "Left behind: deployments (2 pending, 1 running)." in event.reason


def test_the_removal_of_a_member_without_deployments_has_no_body(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    bring(Status.FAILED)
    bring(Status.RUNNING, created_by=alice)

    assert remove(client_for, alice, acme, bob).status_code == 204


def test_deployments_of_former_members_are_listed(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    running, pending = bring(Status.RUNNING), bring(Status.PENDING)
    own = bring(Status.RUNNING, created_by=alice)
    client = client_for(alice)
    assert ids(client.get("/deployments?created_by_departed=true")) == []
    remove(client_for, alice, acme, bob)

    assert ids(client.get("/deployments?created_by_departed=true")) == [pending.pk, running.pk]
    assert ids(client.get("/deployments?created_by_departed=true&status=running")) == [running.pk]
    assert ids(client.get("/deployments?created_by_departed=false")) == [own.pk]
    assert attrs(client.get("/deployments?created_by_departed=yes")) == {"created_by_departed"}


def test_membership_elsewhere_does_not_count(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    left = bring(Status.RUNNING)
    org_services.create(owner=bob, name="Initech")
    remove(client_for, alice, acme, bob)

    found = client_for(alice).get("/deployments?created_by_departed=true")

    assert ids(found) == [left.pk]


def test_an_admin_hands_over_what_has_not_ended(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring,
    member_as: MemberAs,
) -> None:  # fmt: skip
    by_status = {status: bring(status, cpu_milli=100) for status in Status}
    admin, successor = member_as(Role.ADMIN), member_as(Role.DEVELOPER)
    remove(client_for, alice, acme, bob)

    answer = hand_over(client_for, admin, bob, successor)

    assert (answer.status_code, answer.json()) == (200, {"handed_over": len(LIVE)})
    for status, deployment in by_status.items():
        deployment.refresh_from_db()
        assert deployment.created_by == (bob if status in ENDED else successor)
        assert deployment.status == status
    event = Event.objects.filter(kind="handed_over").first()
    assert event is not None
    assert event.actor == admin.username
    assert event.data == {"created_by": [bob.pk, successor.pk]}
    assert event.reason == f"Handed over from bob to {successor.username}."


def test_the_new_submitter_can_act_on_the_deployments(
    client_for: ClientFor, alice: User, bob: User, bring: Bring, member_as: MemberAs
) -> None:
    deployment, successor = bring(Status.RUNNING), member_as(Role.DEVELOPER)
    refusal(client_for(successor).post(f"/deployments/{deployment.pk}/stop"), 403)
    hand_over(client_for, alice, bob, successor)

    assert client_for(successor).post(f"/deployments/{deployment.pk}/stop").status_code == 202


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
def test_only_admins_hand_over(
    client_for: ClientFor, alice: User, bob: User, bring: Bring, member_as: MemberAs, role: Role
) -> None:
    deployment = bring(Status.RUNNING)

    refusal(hand_over(client_for, member_as(role), bob, alice), 403)

    deployment.refresh_from_db()
    assert deployment.created_by == bob


def test_the_new_submitter_must_be_a_developer_of_the_organization(
    client_for: ClientFor, alice: User, bob: User, charlie: User, bring: Bring, member_as: MemberAs
) -> None:
    bring(Status.RUNNING)

    for successor in (charlie, member_as(Role.VIEWER), bob):
        assert attrs(hand_over(client_for, alice, bob, successor)) == {"to_user"}


def test_a_user_without_deployments_has_nothing_to_hand_over(
    client_for: ClientFor, alice: User, bob: User, charlie: User, bring: Bring
) -> None:
    bring(Status.COMPLETED)

    for user in (bob, charlie):
        assert "no deployments" in refusal(hand_over(client_for, alice, user, alice), 409)["detail"]


def test_other_organizations_are_not_changed(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    bring(Status.RUNNING)
    initech = org_services.create(owner=bob, name="Initech")
    Membership.objects.create(organization=initech, user=alice, role=Role.DEVELOPER)
    body = {"from_user": bob.pk, "to_user": alice.pk}
    client = client_for(alice)

    assert attrs(client.post("/deployments/hand-over", body)) == {"organization"}
    refusal(client.post("/deployments/hand-over", body | {"organization": initech.pk}), 403)
    refusal(client.post("/deployments/hand-over", body | {"organization": 987654321}), 404)
    there = client.post("/deployments/hand-over", body | {"organization": acme.pk})
    assert there.json() == {"handed_over": 1}


def test_a_hand_over_does_not_disturb_a_concurrent_cycle(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    deployment = bring(Status.PENDING)
    before = deployment.revision

    hand_over(client_for, alice, bob, alice)

    deployment.refresh_from_db()
    assert deployment.revision == before
    cycle = run_cycle(acme.pk, SchedulingCycle.Trigger.CHANGE)
    assert cycle is not None
    assert cycle.placed == 1


def test_the_admin_page_of_the_organization_lists_what_former_members_left(
    console: Client, client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    page = reverse("admin:orgs_organization_change", args=[acme.pk])
    assert "of former members" not in console.get(page).content.decode()
    remove(client_for, alice, acme, bob)
    listed = f"{reverse('admin:deployments_deployment_changelist')}?departed=yes"

    shown = console.get(page).content.decode()
    rows = console.get(f"{listed}&organization__id__exact={acme.pk}").context["cl"].result_list

    assert "1 deployment of former members" in shown
    assert "departed=yes" in shown
    assert [row.pk for row in rows] == [deployment.pk]


def test_an_operator_who_removes_a_member_sees_what_is_left(
    console: Client, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    bring(Status.RUNNING)
    owner, member = acme.memberships.order_by("pk")
    form = {
        "name": "Acme", "memberships-TOTAL_FORMS": 2, "memberships-INITIAL_FORMS": 2,
        "memberships-0-id": owner.pk, "memberships-0-role": "owner",
        "memberships-0-organization": acme.pk, "memberships-0-user": alice.pk,
        "memberships-1-id": member.pk, "memberships-1-role": "developer",
        "memberships-1-organization": acme.pk, "memberships-1-user": bob.pk,
        "memberships-1-DELETE": "on",
    }  # fmt: skip

    page = console.post(
        reverse("admin:orgs_organization_change", args=[acme.pk]), form, follow=True
    )

    assert "bob left behind deployments (1 running)." in page.content.decode()


def test_an_admin_stops_deployments_of_former_members(
    client_for: ClientFor, alice: User, bob: User, acme: Organization, bring: Bring
) -> None:
    left, own = bring(Status.RUNNING), bring(Status.RUNNING, created_by=alice)
    remove(client_for, alice, acme, bob)

    answer = client_for(alice).post("/deployments/stop?created_by_departed=true")

    assert answer.json()["deployments"] == [left.pk]
    own.refresh_from_db()
    assert own.status == Status.RUNNING
