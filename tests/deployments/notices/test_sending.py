"""What becomes of messages whose mail server or address refuses them, or whose sender dies."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings as settings_of_django
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from accounts.models import User
from deployments.choices import Status
from deployments.models import NoticeCount, NoticeMessage, NoticeRecipient, NoticeRule
from deployments.notices import mail, outbox, sender, services
from deployments.notices.collecting import collect
from deployments.notices.outbox import LEASE
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import decrypt
from tests.deployments.notices.conftest import AddRule, Clock, Send
from tests.fixtures.deployments import Bring
from tests.support.mail_server import MailServer
from tests.support.receiver import OK, Reply, receiving

pytestmark = pytest.mark.django_db

SECRET_PATH = "https://hooks.example.org/services/T00/B00/hunter2"


def only_message() -> NoticeMessage:
    return NoticeMessage.objects.get()


def test_an_address_that_the_server_refuses_for_good_gets_no_more_mails(
    bring: Bring, send: Send, mails: MailServer, bob: User
) -> None:
    mails.reply = lambda address: "550 5.1.1 No such user"
    bring(Status.FAILED)
    assert send() == []
    mails.reply = lambda address: "250 OK"

    assert only_message().status == NoticeMessage.Status.FAILED
    assert "550 5.1.1 No such user" in only_message().error
    assert "550 5.1.1 No such user" in services.why_no_mails(bob)
    with pytest.raises(Conflict, match="Change your address"):
        services.send_test(bob)
    bring(Status.FAILED, name="second")
    assert send(hours=1) == []

    User.objects.filter(pk=bob.pk).update(email="new@example.org")
    bring(Status.FAILED, name="third")
    assert [mail["To"] for mail in send()] == ["new@example.org"]


def test_a_mail_that_the_server_refuses_for_now_is_sent_again(
    bring: Bring, send: Send, mails: MailServer, bob: User
) -> None:
    mails.reply = lambda address: "451 4.7.1 Greylisted"
    bring(Status.FAILED, name="train")
    assert send() == []
    message = only_message()
    assert message.status == NoticeMessage.Status.SCHEDULED
    assert "451" in message.error

    mails.reply = lambda address: "250 OK"
    assert [mail["Subject"] for mail in send(minutes=6)] == ["train failed"]
    assert only_message().status == NoticeMessage.Status.SENT
    assert services.why_no_mails(bob) == ""
    assert send(days=1) == []


def test_mails_are_sent_once_a_mail_server_that_is_down_is_back(
    bring: Bring, send: Send, clock: Clock, alice: User
) -> None:
    with override_settings(EMAIL_PORT=1):
        bring(Status.FAILED, name="his")
        bring(Status.FAILED, name="hers", created_by=alice)
        for _ in range(5):
            assert send(hours=4) == []
    assert "cannot be reached" in NoticeMessage.objects.order_by("pk")[0].error

    assert {str(mail["Subject"]) for mail in send(minutes=10)} == {"his failed", "hers failed"}


def test_a_mail_is_given_up_after_three_days_without_a_mail_server(
    bring: Bring, send: Send
) -> None:
    with override_settings(EMAIL_PORT=1):
        bring(Status.FAILED)
        send()
        send(days=3)
    assert only_message().status == NoticeMessage.Status.FAILED


def test_a_recipient_that_one_sender_has_is_left_to_it(
    bring: Bring, send: Send, clock: Clock
) -> None:
    bring(Status.FAILED)
    collect(clock())
    clock.advance(seconds=11)
    assert outbox.claim(clock()) is not None

    assert outbox.claim(clock()) is None
    assert sender.send_due(clock) == 0
    clock.advance(seconds=LEASE.total_seconds())
    assert sender.send_due(clock) == 1


def test_a_sender_that_has_lost_its_lease_records_nothing(
    bring: Bring, clock: Clock, mails: MailServer
) -> None:
    bring(Status.FAILED)
    collect(clock())
    clock.advance(seconds=11)
    slow = outbox.claim(clock())
    assert slow is not None
    letter = outbox.load(slow, clock())
    assert letter is not None
    clock.advance(seconds=LEASE.total_seconds())
    assert outbox.claim(clock()) is not None

    assert outbox.load(slow, clock()) is None
    assert not outbox.record(slow, letter, mail.Answer(), clock())
    assert only_message().status == NoticeMessage.Status.SCHEDULED


def test_an_error_of_the_service_does_not_keep_others_waiting(
    bring: Bring, send: Send, add_rule: AddRule, bob: User
) -> None:
    rule = add_rule(channel="slack", url="https://hooks.example.org/x")
    NoticeRule.objects.filter(pk=rule.pk).update(url="not encrypted")
    add_rule()
    bring(Status.FAILED, name="train")

    with capture_logs() as logs:
        assert [mail["Subject"] for mail in send()] == ["train failed"]
    [entry] = [each for each in logs if each["event"] == "notice_not_sent"]
    assert entry["error"] == "CannotDecrypt"


def test_slack_gets_a_text_with_links(
    bring: Bring, send: Send, add_rule: AddRule, loopback_allowed: None
) -> None:
    with receiving() as receiver:
        add_rule(channel="slack", url=receiver.url)
        row = bring(Status.FAILED, name="train <7>")
        assert send() == []
        received = receiver.next()

    text = json.loads(received.body)["text"]
    assert text.startswith("*train &lt;7&gt; failed*\n")
    assert f"<http://localhost:8000/my/deployments/{row.pk}/|train &lt;7&gt; failed>" in text
    assert "webhook-id" not in received.headers


def test_a_webhook_gets_signed_json(
    bring: Bring, send: Send, add_rule: AddRule, loopback_allowed: None
) -> None:
    with receiving() as receiver:
        rule = add_rule(channel="webhook", url=receiver.url)
        row = bring(Status.FAILED, name="train")
        send()
        message = receiver.next().verified(decrypt(rule.secret))

    assert message["type"] == "notice"
    assert message["data"]["subject"] == "train failed"
    assert message["data"]["notices"][0]["deployment"] == row.pk


def test_an_address_that_fails_is_tried_again_and_then_its_rule_is_disabled(
    bring: Bring, send: Send, add_rule: AddRule, loopback_allowed: None, settings: Settings
) -> None:
    with receiving(lambda _: Reply(500)) as receiver:
        rule = add_rule(channel="slack", url=receiver.url)
        bring(Status.FAILED)
        send()
        send(minutes=6)
        assert receiver.received.qsize() == 2
        assert "status 500" in only_message().error
        bring(Status.FAILED, name="later")
        send(days=settings.WEBHOOK_FAILING_DAYS, hours=1)

        rule.refresh_from_db()
        assert not rule.enabled
        assert "for 5 days" in rule.disabled_reason

        receiver.reply = lambda _: OK
        services.update(rule, changes={"enabled": True})
        rule.refresh_from_db()
        assert (rule.enabled, rule.disabled_reason) == (True, "")


@pytest.mark.parametrize("url", ["http://10.0.0.7/hook", "https://127.0.0.1/hook"])
def test_the_inside_of_the_operators_network_is_no_address(add_rule: AddRule, url: str) -> None:
    with pytest.raises(Invalid, match="not public"):
        add_rule(channel="slack", url=url)
    assert not NoticeRule.objects.exists()


def test_a_name_that_leads_inside_is_refused_at_the_attempt(
    bring: Bring, send: Send, add_rule: AddRule
) -> None:
    add_rule(channel="slack", url="https://localhost:8443/hook")
    bring(Status.FAILED)
    send()

    assert "not public" in only_message().error


def test_no_address_and_no_secret_is_logged_or_readable_in_the_database(
    bring: Bring, send: Send, add_rule: AddRule
) -> None:
    rule = add_rule(channel="webhook", url=SECRET_PATH)
    bring(Status.FAILED)
    with capture_logs() as logs:
        send()

    assert "notice_attempted" in {entry["event"] for entry in logs}
    assert "hunter2" not in repr(logs)
    assert decrypt(rule.secret) not in repr(logs)
    with connection.cursor() as cursor:
        for table in ("deployments_noticerule", "deployments_noticemessage", "accounts_auditentry"):
            cursor.execute(f"SELECT t::text FROM {table} t")
            assert "hunter2" not in repr(cursor.fetchall())


def test_attempts_are_counted(bring: Bring, send: Send, mails: MailServer) -> None:
    mails.reply = lambda address: "451 Later"
    bring(Status.FAILED)
    send()
    mails.reply = lambda address: "250 OK"
    send(minutes=6)

    counts = {(row.channel, row.outcome): row.value for row in NoticeCount.objects.all()}
    assert counts == {("mail", "failed"): 1, ("mail", "sent"): 1}


def test_a_person_who_has_unsubscribed_gets_no_mails_until_a_rule_is_enabled(
    bring: Bring, send: Send, bob: User, add_rule: AddRule
) -> None:
    assert mail.user_of(mail.token_of(bob.pk)) == bob.pk
    assert mail.user_of(mail.token_of(bob.pk)[:-2]) is None
    assert services.unsubscribe(bob.pk)
    bring(Status.FAILED)
    assert send() == []
    assert "unsubscribed" in services.why_no_mails(bob)

    add_rule()
    bring(Status.FAILED, name="train")
    assert [mail["Subject"] for mail in send()] == ["train failed"]


def test_a_test_mail_is_sent_once_whatever_failed_before(
    send: Send, mails: MailServer, bob: User
) -> None:
    mails.reply = lambda address: "451 Later"
    services.send_test(bob)
    assert send() == []
    assert send(days=1) == []
    assert only_message().status == NoticeMessage.Status.FAILED
    mails.reply = lambda address: "250 OK"
    services.send_test(bob)

    [sent] = send()
    assert sent["Subject"] == "This is a test, which bob asked for."


def test_there_are_as_many_tests_in_an_hour_as_there_may_be_messages(
    send: Send, bob: User, settings: Settings
) -> None:
    settings.NOTICES_PER_HOUR = 2
    for _ in range(2):
        services.send_test(bob)
        assert len(send()) == 1

    with pytest.raises(Conflict, match="2 tests within an hour"):
        services.send_test(bob)

    NoticeMessage.objects.update(created_at=timezone.now() - timedelta(hours=1))
    services.send_test(bob)


def test_old_messages_are_purged_with_their_notices(bring: Bring, send: Send) -> None:
    bring(Status.FAILED)
    send()

    assert services.purge(timezone.now() - timedelta(days=1)) == 0
    assert services.purge(timezone.now() + timedelta(days=1)) == 1
    assert NoticeRecipient.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_once_send_each_mail_once(bring: Bring, mails: MailServer) -> None:
    expected = [f"job-{index} failed" for index in range(10)]
    for subject in expected:
        bring(Status.FAILED, name=subject.removesuffix(" failed"))
    later = timezone.now() + timedelta(seconds=30)

    def work() -> None:
        try:
            sender.collect_and_send(lambda: later)
            sender.collect_and_send(lambda: later + timedelta(seconds=11))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        for done in [workers.submit(work) for _ in range(4)]:
            done.result()

    sent = [str(mails.accepted.get()["Subject"]) for _ in range(mails.accepted.qsize())]
    assert sorted(sent) == expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "times"), [("before", 1), ("after", 2)])
def test_a_message_survives_its_sender(
    bring: Bring, mails: MailServer, point: str, times: int
) -> None:
    """A mail may come twice if its sender died before it recorded it, with the same Message-ID."""
    bring(Status.FAILED, name="train")
    database = settings_of_django.DATABASES["default"]
    url = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
    died = subprocess.run(
        [sys.executable, "-m", "tests.support.dying_sender", point],
        env=os.environ | {"DATABASE_URL": url, "MAIL_URL": mails.url},
        check=False,
        timeout=100,
    )
    assert died.returncode == -signal.SIGKILL
    assert only_message().status == NoticeMessage.Status.SCHEDULED

    sender.send_due(lambda: timezone.now() + timedelta(minutes=2))

    sent = [mails.accepted.get() for _ in range(mails.accepted.qsize())]
    assert [mail["Subject"] for mail in sent] == ["train failed"] * times
    assert len({mail["Message-ID"] for mail in sent}) == 1
    assert only_message().status == NoticeMessage.Status.SENT
