"""What a person without any rule gets by mail, and what such a mail looks like."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster
from deployments import lifecycle
from deployments.choices import Status
from deployments.models import Deployment, Notice, NoticeMessage
from orgs.models import Membership, Organization
from tests.deployments.notices.conftest import Happen, Send, text_of
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db


def test_a_person_learns_who_preempted_a_deployment(
    bring: Bring, submit: Submit, happen: Happen, send: Send
) -> None:
    train = bring(Status.RUNNING, name="train-7", priority=20)
    urgent = submit(name="fraud-check", priority=90)
    until = timezone.now() + timedelta(minutes=1)
    happen(
        lifecycle.EVICT, train, preemptor=urgent.pk, ready_after=until,
        reason="Evicted for fraud-check. Ready again at 09:01:00 UTC.", data={"for": urgent.pk},
    )  # fmt: skip

    [mail] = send()

    assert mail["Subject"] == "train-7 was preempted for fraud-check (priority 90)"
    assert mail["To"] == "bob@example.org"
    assert f"http://localhost:8000/my/deployments/{train.pk}/" in text_of(mail)
    assert "Ready again at 09:01:00 UTC." in text_of(mail)
    assert send() == []


def test_a_person_learns_of_a_move_for_another_deployment(
    bring: Bring, submit: Submit, happen: Happen, send: Send
) -> None:
    train, balanced = (bring(Status.RUNNING, name=name) for name in ("train", "balanced"))
    urgent = submit(name="urgent", priority=90)
    happen(lifecycle.MOVE, train, preemptor=urgent.pk, data={"for": urgent.pk})
    happen(lifecycle.MOVE, balanced, data={"for": None})

    assert [mail["Subject"] for mail in send()] == [
        "train was moved to other nodes for urgent (priority 90)"
    ]


def test_a_person_learns_of_a_failure_and_of_a_start_after_a_long_wait(
    bring: Bring, submit: Submit, happen: Happen, send: Send
) -> None:
    happen(lifecycle.FAIL, bring(Status.RUNNING, name="broken"), reason="Exit code 137.")
    late, soon = submit(name="late"), submit(name="soon")
    began = timezone.now() - timedelta(minutes=21)
    Deployment.objects.filter(pk=late.pk).update(queued_at=began)
    for row in (late, soon):
        happen(lifecycle.PLACE, row)
        happen(lifecycle.START, row)

    mails = {str(mail["Subject"]): text_of(mail) for mail in send()}

    assert set(mails) == {"broken failed", "late started after waiting for 21 min"}
    assert "Exit code 137." in mails["broken failed"]


def test_the_wait_after_an_eviction_counts_from_the_eviction(
    bring: Bring, happen: Happen, send: Send
) -> None:
    row = bring(Status.RUNNING, name="train")
    assert send() == []
    Deployment.objects.filter(pk=row.pk).update(queued_at=timezone.now() - timedelta(hours=5))
    happen(lifecycle.EVICT, row, reason="Preempted by an operator.")
    happen(lifecycle.PLACE, row)
    happen(lifecycle.START, row)

    [mail] = send()
    assert mail["Subject"] == "train was preempted by system:test"


@pytest.mark.parametrize("verb", [lifecycle.COMPLETE, lifecycle.STOP, lifecycle.REQUEUE])
def test_a_person_gets_nothing_else(
    bring: Bring, happen: Happen, send: Send, verb: lifecycle.Verb
) -> None:
    happen(verb, bring(Status.RUNNING))

    assert send() == []
    assert not Notice.objects.exists()


def test_a_mail_says_that_a_program_sent_it_and_how_to_stop_it(
    bring: Bring, happen: Happen, send: Send
) -> None:
    row = bring(Status.RUNNING, name="<b>&amp; co")
    happen(lifecycle.FAIL, row, reason="Exit code 1 & more.")
    [first] = send()
    happen(lifecycle.RESTART, row)
    for verb in (lifecycle.PLACE, lifecycle.START, lifecycle.FAIL):
        happen(verb, row)
    [second] = send(minutes=20)

    assert first["Auto-Submitted"] == "auto-generated"
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (
        first["List-Unsubscribe"]
        .strip()
        .startswith("<http://localhost:8000/my/notices/unsubscribe/")
    )
    assert first["References"] == second["In-Reply-To"] == f"<deployment-{row.pk}@localhost>"
    assert first["Message-ID"] != second["Message-ID"]
    html = first.get_body(("html",))
    assert html is not None
    assert "&lt;b&gt;&amp;amp; co" in html.get_content()
    assert "Exit code 1 & more." in text_of(first)


def test_a_member_who_has_left_gets_nothing(
    bring: Bring, happen: Happen, send: Send, bob: User
) -> None:
    happen(lifecycle.FAIL, bring(Status.RUNNING))
    Membership.objects.filter(user=bob).delete()

    assert send() == []


def test_a_member_who_leaves_before_the_mail_is_sent_gets_nothing(
    bring: Bring, happen: Happen, send: Send, bob: User
) -> None:
    rows = [bring(Status.RUNNING) for _ in range(2)]
    happen(lifecycle.FAIL, rows[0])
    assert len(send()) == 1
    happen(lifecycle.RESTART, rows[0])
    for verb in (lifecycle.PLACE, lifecycle.START, lifecycle.FAIL):
        happen(verb, rows[0])
    assert send() == []
    Membership.objects.filter(user=bob).delete()

    assert send(minutes=20) == []
    dropped = NoticeMessage.objects.get(status=NoticeMessage.Status.DROPPED)
    assert dropped.error == "The recipient is not a member of the organization any more."


@pytest.mark.parametrize(
    "columns", [{"email": ""}, {"email_verified_at": None}, {"is_active": False}]
)
def test_a_person_without_an_address_gets_nothing(
    bring: Bring, happen: Happen, send: Send, bob: User, columns: dict[str, object]
) -> None:
    User.objects.filter(pk=bob.pk).update(**columns)
    happen(lifecycle.FAIL, bring(Status.RUNNING))

    assert send() == []
    assert not Notice.objects.exists()


def test_without_a_mail_server_nothing_is_collected(
    bring: Bring, happen: Happen, send: Send, settings: Settings
) -> None:
    settings.MAIL_IS_SENT = False
    happen(lifecycle.FAIL, bring(Status.RUNNING))

    assert send() == []
    assert not Notice.objects.exists()


def test_what_happened_before_an_upgrade_is_not_reported(
    bring: Bring, happen: Happen, send: Send, acme: Organization, forge: Cluster
) -> None:
    from importlib import import_module

    from django.db import connection

    from orgs.feed.numbering import number_events

    happen(lifecycle.FAIL, bring(Status.RUNNING, name="numbered"))
    number_events()
    happen(lifecycle.FAIL, bring(Status.RUNNING, name="unnumbered"))
    with connection.cursor() as cursor:
        cursor.execute(import_module("deployments.migrations.0030_notices").POSITIONS)
    happen(lifecycle.FAIL, bring(Status.RUNNING, name="new"))

    assert [mail["Subject"] for mail in send()] == ["new failed"]
