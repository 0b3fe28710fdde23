"""Celery tasks that delete expired rows."""

from celery import shared_task
from django.utils import timezone

from orgs.tokens import services


@shared_task(name="orgs.purge_expired_tokens")
def purge_expired_tokens() -> None:
    services.purge(timezone.now())
