"""Celery tasks that delete expired rows, and that send mails."""

from smtplib import SMTPException
from typing import Any

from celery import shared_task
from django.core.management import call_command
from django.utils import timezone

from accounts import addresses, idempotency, mails, recovery, tokens
from accounts.audit import retention
from accounts.sessions import services as sessions


@shared_task(name="accounts.purge_idempotency_keys")
def purge_idempotency_keys() -> None:
    idempotency.purge(timezone.now())


@shared_task(name="accounts.purge_expired_tokens")
def purge_expired_tokens() -> None:
    tokens.purge(timezone.now())
    call_command("flushexpiredtokens")


@shared_task(name="accounts.purge_sessions")
def purge_sessions() -> None:
    sessions.purge(timezone.now())


@shared_task(name="accounts.purge_audit_trail")
def purge_audit_trail() -> None:
    retention.purge_entries(timezone.now())


_RETRIED: dict[str, Any] = {
    "autoretry_for": (SMTPException, OSError),
    "retry_backoff": 15,
    "max_retries": 6,
}
"""A mail server that is away for some minutes delays a mail, and does not lose it."""


@shared_task(name=mails.PASSWORD_RESET, **_RETRIED)
def mail_password_reset(address: str) -> None:
    recovery.send(address)


@shared_task(name=mails.PASSWORD_CHANGED, **_RETRIED)
def mail_password_changed(user_id: int) -> None:
    recovery.send_changed(user_id)


@shared_task(name=mails.VERIFICATION, **_RETRIED)
def mail_verification(user_id: int) -> None:
    addresses.send(user_id)


@shared_task(name=mails.ADDRESS_CHANGED, **_RETRIED)
def mail_address_changed(user_id: int, former: str) -> None:
    addresses.send_changed(user_id, former)
