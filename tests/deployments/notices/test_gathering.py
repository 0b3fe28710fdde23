"""How many messages a recipient gets, and what each of them gathers."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster
from deployments import lifecycle
from deployments.arrays.elements import ArraySpec
from deployments.bulk import Entry, submit_many
from deployments.choices import Status
from deployments.models import Deployment, Notice
from deployments.notices import recipients
from deployments.specs import Spec
from orgs.models import Organization
from tests.deployments.notices.conftest import PLACED, AddRule, Clock, Happen, Send, text_of
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db


def fail_again(happen: Happen, row: Deployment, times: int = 1) -> None:
    for _ in range(times):
        for verb in (lifecycle.RESTART, *PLACED, lifecycle.FAIL):
            happen(verb, row)


def test_there_is_one_mail_about_a_deployment_in_15_minutes_and_nothing_is_lost(
    bring: Bring, happen: Happen, send: Send
) -> None:
    row = bring(Status.FAILED, name="train")
    assert [mail["Subject"] for mail in send()] == ["train failed"]
    for _ in range(3):
        fail_again(happen, row)
        assert send(minutes=4) == []

    [mail] = send(minutes=4)

    assert mail["Subject"] == "train failed (3 notices)"
    assert text_of(mail).count("train failed.") == 3
    assert send(hours=1) == []


def test_notices_about_another_deployment_do_not_wait(
    bring: Bring, happen: Happen, send: Send
) -> None:
    bring(Status.FAILED, name="one")
    assert len(send()) == 1
    bring(Status.FAILED, name="two")

    assert [mail["Subject"] for mail in send()] == ["two failed"]


def test_what_happens_to_a_deployment_at_once_is_one_mail(
    bring: Bring, happen: Happen, send: Send
) -> None:
    row = bring(Status.RUNNING, name="train")
    happen(lifecycle.EVICT, row, reason="By hand.")
    for verb in (*PLACED, lifecycle.FAIL):
        happen(verb, row)

    [mail] = send()
    assert mail["Subject"] == "train failed (2 notices)"
    assert "train was preempted by system:test." in text_of(mail)


def test_an_array_of_10000_failing_elements_is_two_mails(
    forge: Cluster, acme: Organization, bob: User, happen: Happen, send: Send
) -> None:
    spec = Spec(name="sweep", image="busybox", cpu_milli=1000, ram_mib=1024)
    submit_many(created_by=bob, entries=[Entry(acme, spec, array=ArraySpec(10_000))])
    first, *others = Deployment.objects.order_by("pk")
    for verb in (*PLACED, lifecycle.FAIL):
        happen(verb, first)
    [mail] = send()
    assert mail["Subject"] == "sweep-0 failed"

    for verb in (*PLACED, lifecycle.FAIL):
        happen(verb, *others)
    assert send() == []

    [mail] = send(minutes=15)
    assert mail["Subject"] == "sweep: 9,999 more elements failed"
    assert "more of sweep likewise" in text_of(mail)
    assert Notice.objects.count() < 100
    assert send(hours=2) == []


def test_beyond_the_limit_of_an_hour_one_summary_has_the_rest(
    bring: Bring, happen: Happen, send: Send, settings: Settings
) -> None:
    settings.NOTICES_PER_HOUR = 3
    for index in range(30):
        bring(Status.FAILED, name=f"job-{index}")

    mails = send()
    assert [mail["Subject"] for mail in mails] == [
        "job-0 failed", "job-1 failed", "Summary of 28 notices: 28 failed",
    ]  # fmt: skip
    assert "8 more are not listed" in text_of(mails[2])
    assert mails[2]["References"] is None

    for index in range(5):
        bring(Status.FAILED, name=f"late-{index}")
    assert send(minutes=30) == []
    subjects = [mail["Subject"] for mail in send(minutes=31)]
    assert subjects == ["late-0 failed", "late-1 failed", "Summary of 3 notices: 3 failed"]
    assert not Notice.objects.filter(message=None).exists()


def test_a_digest_comes_once_a_day_at_its_hour(
    bring: Bring, happen: Happen, send: Send, add_rule: AddRule, clock: Clock
) -> None:
    hour = (clock() + timedelta(hours=2)).hour
    add_rule(kinds=["failed", "completed"], digest_hour=hour)
    bring(Status.FAILED)
    bring(Status.FAILED)
    bring(Status.COMPLETED)
    assert send() == []
    assert send(minutes=30) == []

    [mail] = send(hours=2)

    assert mail["Subject"] == "Daily digest: 2 failed, 1 completed"
    assert send(hours=23) == []


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(7, "2026-01-05T07:00"), (6, "2026-01-06T06:00"), (0, "2026-01-06T00:00")],
)
def test_the_next_digest_is_in_the_future(hour: int, expected: str) -> None:
    now = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)

    assert recipients.next_digest(hour, now).isoformat().startswith(expected)


def test_two_rules_that_lead_to_a_mailbox_are_one_mail(
    bring: Bring, send: Send, add_rule: AddRule, acme: Organization, alice: User
) -> None:
    late = (timezone.now() - timedelta(hours=2)).hour
    add_rule(user=None, organization=acme)
    add_rule(user=alice, organization=acme, digest_hour=late)
    bring(Status.FAILED, name="train")

    mails = {mail["To"]: mail["Subject"] for mail in send()}

    assert mails == {"alice@example.org": "train failed", "bob@example.org": "train failed"}
    assert send(hours=24) == []
