"""Which recipients have something to get, and what became of an attempt.

Every function is one short transaction. Several senders may run: one at a time sends to a
recipient. It has a lease, which it extends with each attempt, and which ends by itself if the
sender dies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts.models import User
from accounts.services import mail_address_of
from deployments.models import Notice, NoticeMessage, NoticeRecipient, NoticeRule
from deployments.notices.gathering import gather
from deployments.notices.kinds import Channel
from deployments.notices.mail import Answer
from deployments.notices.recipients import is_stopped
from orgs.models import Membership
from orgs.webhooks import schedule

LEASE = timedelta(seconds=60)
"""Longer than an attempt takes. After a sender was killed, its recipient waits for so long."""

_LONGEST_OUTAGE = timedelta(days=3)
"""A mail that could not be sent for so long, because the mail server did not serve, has failed."""

_ATTENTION = timedelta(minutes=5)
"""How long a recipient waits to whom nothing can be sent, because of an error of the service."""

_CLAIM = """
    UPDATE deployments_noticerecipient SET lease = gen_random_uuid(), leased_until = %(until)s
    WHERE id = (
        SELECT r.id FROM deployments_noticerecipient r
        WHERE r.leased_until <= %(now)s AND r.paused_until <= %(now)s
          AND (%(mails)s OR r.user_id IS NULL)
          AND (EXISTS (
                SELECT FROM deployments_noticemessage m
                WHERE m.recipient_id = r.id AND m.status = 'scheduled'
                  AND m.next_attempt_at <= %(now)s)
            OR EXISTS (
                SELECT FROM deployments_notice n
                WHERE n.recipient_id = r.id AND n.message_id IS NULL AND n.due_at <= %(now)s))
        ORDER BY r.leased_until, r.id LIMIT 1
        FOR NO KEY UPDATE OF r SKIP LOCKED
    )
    RETURNING id, lease
"""

_COUNT = """
    INSERT INTO deployments_noticecount AS present (channel, outcome, value) VALUES (%s, %s, 1)
    ON CONFLICT (channel, outcome) DO UPDATE SET value = present.value + 1
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A sender's right to send to a recipient."""

    recipient: int
    lease: UUID


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to send now, with those of its notices that the recipient may see: to the `address`
    of a `user`, or by a `rule`."""

    message: NoticeMessage
    notices: Sequence[Notice]
    channel: Channel
    address: str = ""
    user: int = 0
    rule: NoticeRule | None = None


def claim(now: datetime, *, mails: bool = True) -> Turn | None:
    """Take the turn of the recipient that has waited longest; None if there is nothing to send."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"now": now, "until": now + LEASE, "mails": mails})
        row = cursor.fetchone()
    return Turn(*row) if row else None


@transaction.atomic
def load(turn: Turn, now: datetime) -> Letter | None:
    """Return the next message to the recipient, None if there is none left.

    A message that nobody may get any more is dropped.
    """
    recipient = _leased(turn)
    if recipient is None:
        return None
    gather(recipient, now)
    due = recipient.messages.filter(status=NoticeMessage.Status.SCHEDULED, next_attempt_at__lte=now)
    for message in due.order_by("next_attempt_at", "pk"):
        found = _letter(recipient, message)
        if isinstance(found, Letter):
            return found
        _drop(message, found)
    return None


@transaction.atomic
def record(turn: Turn, letter: Letter, answer: Answer, now: datetime) -> bool:
    """Record an attempt; return whether the sender goes on with this recipient.

    Nothing is recorded if the sender has lost its lease: then another one repeats the attempt.
    """
    recipient = _leased(turn)
    if recipient is None:
        return False
    _count(letter.channel, answer)
    _record_on_message(letter.message, answer, recipient.failures + 1, now)
    if answer.is_sent:
        recipient.failures, recipient.failing_since, recipient.sent_at = 0, None, now
        recipient.refused_address = recipient.refused_reason = ""
    elif answer.refuses_address:
        recipient.refused_address, recipient.refused_reason = letter.address, answer.error
    elif not letter.message.is_test:
        recipient.failures += 1
        recipient.failing_since = recipient.failing_since or now
        recipient.paused_until = schedule.pause(recipient.failures, now, answer.retry_after_s)
    recipient.leased_until = now + LEASE
    recipient.save()
    if letter.rule is not None:
        _disable_if_useless(letter.rule, recipient, answer, now)
    return answer.is_sent or letter.message.is_test


def release(turn: Turn, now: datetime, *, postponed: bool = False) -> None:
    """End the turn. With `postponed`, the next one begins only after some minutes."""
    until = now + _ATTENTION if postponed else now
    NoticeRecipient.objects.filter(pk=turn.recipient, lease=turn.lease).update(
        lease=None, leased_until=until
    )


def _leased(turn: Turn) -> NoticeRecipient | None:
    rows = NoticeRecipient.objects.locked().filter(pk=turn.recipient, lease=turn.lease)
    return rows.select_related("user", "rule__user").first()


def _letter(recipient: NoticeRecipient, message: NoticeMessage) -> Letter | str:
    """Return what is sent of the message, or a sentence that says why nothing is."""
    rule = recipient.rule
    reader = rule.user if rule else recipient.user
    address = mail_address_of(recipient.user) if recipient.user else ""
    if rule and not (rule.enabled or message.is_test):
        return "The rule was disabled meanwhile."
    if recipient.user and not address:
        return "The recipient has no verified mail address."
    if recipient.user and is_stopped(recipient, address):
        return "The recipient gets no mails."
    notices = _readable(message, reader)
    if not (notices or message.is_test):
        return "The recipient is not a member of the organization any more."
    channel = Channel(rule.channel) if rule else Channel.MAIL
    return Letter(message, notices, channel, address, recipient.user_id or 0, rule)


def _readable(message: NoticeMessage, reader: User | None) -> list[Notice]:
    """Return the message's notices, for a person only those of the person's organizations."""
    notices = message.notices.order_by("time", "pk")
    if reader is None:
        return list(notices)
    if not reader.is_active:
        return []
    mine = Membership.objects.filter(user=reader).values("organization")
    return list(notices.filter(organization__in=mine))


def _drop(message: NoticeMessage, why: str) -> None:
    NoticeMessage.objects.filter(pk=message.pk).update(
        status=NoticeMessage.Status.DROPPED, next_attempt_at=None, error=why
    )


def _record_on_message(
    message: NoticeMessage, answer: Answer, failures: int, now: datetime
) -> None:
    again, attempts = None, message.attempts + 1
    if answer.is_outage and message.created_at > now - _LONGEST_OUTAGE and not message.is_test:
        again, attempts = schedule.pause(failures, now, None), message.attempts
    elif not (answer.is_sent or answer.is_final or message.is_test or answer.is_outage):
        again = schedule.next_attempt(attempts, now, answer.retry_after_s)
    failed = NoticeMessage.Status.SCHEDULED if again else NoticeMessage.Status.FAILED
    NoticeMessage.objects.filter(pk=message.pk).update(
        status=NoticeMessage.Status.SENT if answer.is_sent else failed,
        attempts=attempts,
        next_attempt_at=again,
        error=answer.error,
        sent_at=now if answer.is_sent else None,
    )


def _disable_if_useless(
    rule: NoticeRule, recipient: NoticeRecipient, answer: Answer, now: datetime
) -> None:
    days: int = settings.WEBHOOK_FAILING_DAYS
    since = recipient.failing_since
    if answer.is_sent:
        return
    if answer.is_final:
        reason = answer.error
    elif since and now - since > timedelta(days=days):
        reason = f"All attempts have failed for {days} days, the last one so: {answer.error}"
    else:
        return
    NoticeRule.objects.filter(pk=rule.pk, enabled=True).update(
        enabled=False, disabled_reason=reason, updated_at=now
    )


def _count(channel: Channel, answer: Answer) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [channel, "sent" if answer.is_sent else "failed"])
