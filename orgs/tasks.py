"""Celery tasks that delete expired rows."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from orgs.tokens import services as tokens
from orgs.webhooks import services as webhooks


@shared_task(name="orgs.purge_expired_tokens")
def purge_expired_tokens() -> None:
    tokens.purge(timezone.now())


@shared_task(name="orgs.purge_webhook_deliveries")
def purge_webhook_deliveries() -> None:
    webhooks.purge(timezone.now() - timedelta(days=settings.WEBHOOK_HISTORY_DAYS))
