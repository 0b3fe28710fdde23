"""A message as a mail, and how the mail server answered."""

import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.template.loader import render_to_string

from deployments.models import Notice, NoticeMessage
from hypervisor.base import links

_PURPOSE = "notices.unsubscribe"
_LONGEST_SUBJECT = 200
_LISTED = 20
"""How many notices a mail lists; the others are only counted."""

_PERMANENT = 500
"""From this code on, an answer of a mail server is final."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt; an `error` is a sentence for people.

    - `is_final`: another attempt would not succeed.
    - `refuses_address`: the mail server refused the address for good.
    - `is_outage`: the mail server does not serve at all, so other mails would fail as well.
    """

    error: str = ""
    is_final: bool = False
    refuses_address: bool = False
    is_outage: bool = False
    retry_after_s: int | None = None

    @property
    def is_sent(self) -> bool:
        return not self.error


def connect() -> BaseEmailBackend:
    """Return a connection to the mail server, which opens with the first mail."""
    connection: BaseEmailBackend = get_connection()
    return connection


def send(
    message: NoticeMessage,
    notices: Sequence[Notice],
    *,
    to: str,
    user: int,
    connection: BaseEmailBackend,
) -> Answer:
    """Send the message to this address of the user; return what became of it."""
    try:
        compose(message, notices, to=to, user=user, connection=connection).send()
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        final = code >= _PERMANENT
        return Answer(
            f"The mail server refused the address: {_shown(code, text)}",
            is_final=final,
            refuses_address=final,
        )
    except smtplib.SMTPDataError as error:
        why = f"The mail server refused the mail: {_shown(error.smtp_code, error.smtp_error)}"
        return Answer(why, is_final=error.smtp_code >= _PERMANENT)
    except smtplib.SMTPResponseException as error:
        why = _shown(error.smtp_code, error.smtp_error)
        return Answer(f"The mail server does not accept mail: {why}", is_outage=True)
    except (smtplib.SMTPException, OSError) as error:
        # The text may contain the address of the mail server, which is no concern of the person.
        return Answer(
            f"The mail server cannot be reached ({type(error).__name__}).", is_outage=True
        )
    return Answer()


def compose(
    message: NoticeMessage,
    notices: Sequence[Notice],
    *,
    to: str,
    user: int,
    connection: BaseEmailBackend | None = None,
) -> EmailMultiAlternatives:
    """Return the mail. Mails with the same `thread` are shown together."""
    unsubscribe = f"{settings.PUBLIC_URL}/my/notices/unsubscribe/{token_of(user)}/"
    total = sum(notice.count for notice in notices)
    shown = notices[:_LISTED]
    context = {
        "message": message,
        "notices": shown,
        "others": total - sum(notice.count for notice in shown),
        "url": settings.PUBLIC_URL,
        "unsubscribe": unsubscribe,
    }
    headers = {
        "Message-ID": f"<notice-{message.pk}-{int(message.created_at.timestamp())}@{_domain()}>",
        "Auto-Submitted": "auto-generated",
        "List-Unsubscribe": f"<{unsubscribe}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    if message.thread:
        root = f"<{message.thread}@{_domain()}>"
        headers |= {"In-Reply-To": root, "References": root}
    mail = EmailMultiAlternatives(
        subject=subject_of(message),
        body=render_to_string("deployments/notices/mail.txt", context),
        to=[to],
        headers=headers,
        connection=connection,
    )
    mail.attach_alternative(render_to_string("deployments/notices/mail.html", context), "text/html")
    return mail


def subject_of(message: NoticeMessage) -> str:
    """Return the subject on one line of a bounded length."""
    text = " ".join(message.subject.split())
    return text if len(text) <= _LONGEST_SUBJECT else f"{text[: _LONGEST_SUBJECT - 1]}…"


def token_of(user: int) -> str:
    """Return the text in a link with which the person's mails can be stopped, without a log-in."""
    return links.sign(user, purpose=_PURPOSE)


def user_of(token: str) -> int | None:
    """Return the id of the user for whom the text was signed, None if it was not."""
    try:
        user: int = links.read(token, purpose=_PURPOSE)
    except links.BadLink:
        return None
    return user


def _domain() -> str:
    """Return the domain of the sender, or else that of the service."""
    _, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    return address.partition("@")[2] or urlsplit(settings.PUBLIC_URL).hostname or "localhost"


def _shown(code: int, text: bytes | str) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())[:300]}"
