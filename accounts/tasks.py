"""Celery tasks that delete expired rows."""

from celery import shared_task
from django.core.management import call_command
from django.utils import timezone

from accounts import idempotency, tokens
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
