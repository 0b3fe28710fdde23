"""Mails about an account: who asks for them, and how they are sent.

A worker sends them, because the mail server may take long. Links begin with PUBLIC_URL, never with
the host of a request, which the caller chooses.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from redis import RedisError
from structlog.contextvars import get_contextvars

from hypervisor.base.errors import Conflict, Unavailable
from hypervisor.base.tracing import REQUEST_ID

PASSWORD_RESET = "accounts.mail_password_reset"  # noqa: S105 a task's name
PASSWORD_CHANGED = "accounts.mail_password_changed"  # noqa: S105 a task's name
VERIFICATION = "accounts.mail_verification"
ADDRESS_CHANGED = "accounts.mail_address_changed"

log = structlog.get_logger(__name__)

_PAUSE_S = 120
"""How long one user gets no other mail of the same kind, however often somebody asks for it."""


def require() -> None:
    """Raise Conflict if this service sends no mail."""
    if not settings.MAIL_IS_SENT:
        raise Conflict(
            "This service sends no mail: ask an operator of this service.", code="no_mail"
        )


def ask(task: str, *args: Any) -> None:
    """Let a worker carry out the task `accounts.mail_…`. Raises Unavailable without a broker."""
    headers = {REQUEST_ID: get_contextvars().get(REQUEST_ID, "")}
    try:
        current_app.send_task(task, args=args, headers=headers)
    except Exception as error:
        log.warning("mail_not_requested", task=task, error=str(error))
        raise Unavailable("No mail can be sent at present. Try again later.") from error


def ask_on_commit(task: str, *args: Any) -> None:
    """Let a worker carry out the task after this transaction, if this service sends mail at all."""
    if settings.MAIL_IS_SENT:
        transaction.on_commit(partial(ask, task, *args), robust=True)


@contextmanager
def turn(kind: str, user: int) -> Iterator[bool]:
    """Yield whether the user has had no mail of this kind for a while.

    The mail that the block sends counts, unless the block fails.
    """
    key = f"mail:{kind}:{user}"
    try:
        is_free = bool(cache.add(key, 1, timeout=_PAUSE_S))
    except RedisError:
        is_free = True
    try:
        yield is_free
    except BaseException:
        if is_free:
            with suppress(RedisError):
                cache.delete(key)
        raise


def send(template: str, to: str, **context: Any) -> None:
    """Send a mail now. The first line of its template is the subject."""
    context = {"service": settings.PUBLIC_URL, **context}
    subject, _, text = render_to_string(f"accounts/mails/{template}.txt", context).partition("\n")
    headers = {"Auto-Submitted": "auto-generated"}
    EmailMessage(subject, text.lstrip("\n"), to=[to], headers=headers).send()
    log.info("mail_sent", about=template)
