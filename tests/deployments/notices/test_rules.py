"""Which facts lead to which recipients."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment, Notice
from deployments.notices.kinds import Kind
from orgs.models import Membership, Organization, Role
from tests.deployments.notices.conftest import PLACED, AddRule, Clock, Happen, Send
from tests.fixtures.deployments import Bring, MemberAs, Submit

pytestmark = pytest.mark.django_db

Waiting = Callable[..., Deployment]


@pytest.fixture
def waiting(submit: Submit, forge: Cluster) -> Waiting:
    """Submit a deployment that has been waiting for some minutes."""

    def submit_one(minutes: float, **columns: Any) -> Deployment:
        row = submit(name=columns.pop("name", "job"))
        began = timezone.now() - timedelta(minutes=minutes)
        Deployment.objects.filter(pk=row.pk).update(queued_at=began, **columns)
        return row

    return submit_one


def test_a_rule_for_the_own_deployments_takes_the_place_of_the_default(
    bring: Bring, send: Send, add_rule: AddRule
) -> None:
    add_rule(kinds=["completed"])
    bring(Status.FAILED, name="broken")
    bring(Status.COMPLETED, name="done")

    assert [mail["Subject"] for mail in send()] == ["done completed"]


def test_a_rule_that_is_off_mutes_the_default(bring: Bring, send: Send, add_rule: AddRule) -> None:
    add_rule(enabled=False)
    bring(Status.FAILED)

    assert send() == []


def test_a_rule_for_an_organization_leaves_the_default_of_the_own(
    bring: Bring, send: Send, add_rule: AddRule, acme: Organization, alice: User
) -> None:
    add_rule(organization=acme, kinds=["completed"])
    bring(Status.FAILED, name="mine")
    bring(Status.COMPLETED, name="hers", created_by=alice)

    assert {str(m["Subject"]) for m in send()} == {"mine failed", "hers completed"}


def test_mails_of_the_organization_go_to_its_admins(
    bring: Bring, send: Send, add_rule: AddRule, acme: Organization, member_as: MemberAs
) -> None:
    admin = member_as(Role.ADMIN)
    User.objects.filter(pk=admin.pk).update(
        email="admin@example.org", email_verified_at=timezone.now()
    )
    add_rule(user=None, organization=acme, kinds=["completed"])
    bring(Status.COMPLETED)

    assert {mail["To"] for mail in send()} == {"alice@example.org", "admin@example.org"}


def test_a_rule_of_another_organization_gets_nothing(
    bring: Bring, send: Send, add_rule: AddRule, globex: Organization, charlie: User
) -> None:
    add_rule(user=charlie, organization=globex, kinds=["completed"])
    add_rule(user=None, organization=globex, kinds=["completed"])
    add_rule(user=charlie, kinds=["completed"])
    bring(Status.COMPLETED)

    assert send() == []


def test_a_former_members_rule_for_the_organization_gets_nothing(
    bring: Bring, send: Send, add_rule: AddRule, acme: Organization, bob: User, alice: User
) -> None:
    add_rule(organization=acme, kinds=["completed"])
    Membership.objects.filter(user=bob).delete()
    bring(Status.COMPLETED, created_by=alice)

    assert send() == []


def test_a_rule_may_ask_for_labels(bring: Bring, send: Send, add_rule: AddRule) -> None:
    add_rule(labels={"team": "fraud"})
    bring(Status.FAILED, name="other", labels={"team": "search"})
    bring(Status.FAILED, name="none")
    bring(Status.FAILED, name="wanted", labels={"team": "fraud", "stage": "dev"})

    assert [mail["Subject"] for mail in send()] == ["wanted failed"]


def test_each_rule_has_its_own_long_wait(
    waiting: Waiting, happen: Happen, send: Send, add_rule: AddRule, acme: Organization, alice: User
) -> None:
    add_rule(kinds=["started_late"], wait_minutes=60)
    add_rule(user=alice, organization=acme, kinds=["started_late"], wait_minutes=10)
    row = waiting(30)
    for verb in PLACED:
        happen(verb, row)

    [mail] = send()
    assert mail["To"] == "alice@example.org"


def test_a_deployment_that_waits_long_is_reported_once(
    waiting: Waiting, send: Send, add_rule: AddRule
) -> None:
    add_rule(kinds=["waits_long"], wait_minutes=20)
    row = waiting(18, status_reason="Waits for 2 GPUs.")
    assert send() == []

    [mail] = send(minutes=3)

    assert mail["Subject"] == f"{row.name} has been waiting for 21 min"
    assert send(minutes=30) == []
    assert send(hours=8) == []


def test_what_has_waited_for_long_before_the_scan_began_is_not_reported(
    waiting: Waiting, send: Send, add_rule: AddRule, submit: Submit
) -> None:
    add_rule(kinds=["waits_long"], wait_minutes=20)
    waiting(300)

    assert send() == []


@pytest.mark.parametrize("columns", [{"held": True}, {"queued_at": timezone.now()}])
def test_what_does_not_wait_is_not_reported(
    waiting: Waiting, send: Send, add_rule: AddRule, columns: dict[str, Any]
) -> None:
    add_rule(kinds=["waits_long"], wait_minutes=20)
    row = waiting(18)
    send()
    Deployment.objects.filter(pk=row.pk).update(**columns)

    assert send(minutes=3) == []


def test_a_deployment_that_can_never_start_is_reported_once(
    waiting: Waiting, send: Send, add_rule: AddRule, alice: User
) -> None:
    add_rule(kinds=["never_starts"])
    waiting(1, name="large", status_code="exceeds_capacity", status_reason="No cluster has 9 GPUs.")
    waiting(1, name="hers", status_code="exceeds_capacity", created_by=alice)
    assert send() == []

    [mail] = send(minutes=1)

    assert mail["Subject"] == "large cannot start"
    assert send(hours=1) == []
    assert send(hours=48) == []


def test_an_event_is_collected_once_whoever_collects(
    bring: Bring, send: Send, clock: Clock, acme: Organization
) -> None:
    from deployments.models import NoticeCursor
    from deployments.notices import sender

    bring(Status.FAILED)
    assert len(send()) == 1
    NoticeCursor.objects.filter(pk=acme.pk).update(position=0)
    sender.collect_and_send(clock)

    assert Notice.objects.get().kind == Kind.FAILED
    assert send(hours=1) == []
