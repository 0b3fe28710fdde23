"""Collect what has happened, and send what is due, for a while.

Any number of processes and threads may do so at once.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import monotonic

import structlog
from django.core.mail.backends.base import BaseEmailBackend
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from deployments.notices import mail, outbox, posts
from deployments.notices.collecting import collect, scan
from deployments.notices.mail import Answer
from deployments.notices.outbox import Letter, Turn

LONGEST_S = 20.0
"""After so long, the rest is left to the next call, so that few threads wait for slow servers."""

Clock = Callable[[], datetime]

log = structlog.get_logger(__name__)


def collect_and_send(clock: Clock = timezone.now) -> None:
    """Collect all facts, and send to each recipient for whom something is due."""
    collect(clock())
    scan(clock())
    send_due(clock)


def send_due(clock: Clock = timezone.now) -> int:
    """Send to one recipient after the other, for LONGEST_S at most; return how many messages.

    After the first mail that fails because the mail server does not serve, no other one is tried.
    """
    deadline, sent, mails = monotonic() + LONGEST_S, 0, True
    connection = mail.connect()
    try:
        while monotonic() < deadline and (turn := outbox.claim(clock(), mails=mails)):
            answers = _send_all(turn, connection, deadline, clock)
            sent += sum(answer.is_sent for answer in answers)
            mails = mails and not any(answer.is_outage for answer in answers)
    finally:
        with suppress(Exception):
            connection.close()
    return sent


def _send_all(
    turn: Turn, connection: BaseEmailBackend, deadline: float, clock: Clock
) -> list[Answer]:
    """Send what is due for one recipient, until an attempt fails or the time is up."""
    answers: list[Answer] = []
    postponed = False
    try:
        while letter := outbox.load(turn, clock()):
            answer = _send(letter, connection, clock())
            answers.append(answer)
            if not outbox.record(turn, letter, answer, clock()) or monotonic() > deadline:
                break
    except (OperationalError, InterfaceError):
        # During an outage, a message may have been sent without a record: it is sent again.
        raise
    except Exception as error:  # noqa: BLE001 its text may contain the address
        log.warning("notice_not_sent", recipient=turn.recipient, error=type(error).__name__)
        postponed = True
    finally:
        outbox.release(turn, clock(), postponed=postponed)
    return answers


def _send(letter: Letter, connection: BaseEmailBackend, now: datetime) -> Answer:
    message, notices = letter.message, letter.notices
    if letter.rule is not None:
        answer = posts.send(message, notices, rule=letter.rule, now=now)
    else:
        answer = mail.send(
            message, notices, to=letter.address, user=letter.user, connection=connection
        )
    # Neither the address nor what it was sent: both may be secret.
    log.info("notice_attempted", message=message.pk, sent=answer.is_sent, channel=letter.channel)
    return answer
