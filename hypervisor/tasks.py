"""Celery tasks of the installation as a whole."""

import structlog
from celery import shared_task
from django.core.management import CommandError, call_command

from hypervisor.demo import progress

log = structlog.get_logger(__name__)


@shared_task(name="hypervisor.fill_demo")
def fill_demo() -> None:
    """Do what `manage.py demo --no-docker` does."""
    try:
        call_command("demo", no_docker=True)
    except CommandError as error:
        log.warning("demo_failed", error=str(error))
        progress.fail(str(error))
    else:
        progress.end()
