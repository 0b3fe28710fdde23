"""The Celery application: only wiring; the tasks call the services of the apps."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging, task_postrun, task_prerun
from django.db import close_old_connections
from structlog.contextvars import bind_contextvars, unbind_contextvars

from hypervisor import sessions
from hypervisor.base import long_locks
from hypervisor.base.tracing import REQUEST_ID

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")

_LOCK_CONNECTIONS = 16

app = Celery("hypervisor")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app belongs to one thread; the web server's other threads use the default app.
app.set_default()


@celeryd_init.connect
@beat_init.connect
def _limit_sessions(**_: Any) -> None:
    """Set the limits of beat, and of the workers before any is forked."""
    sessions.use(sessions.WORKER)
    long_locks.keep_connections(_LOCK_CONNECTIONS)


@setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Leave logging as Django has set it up: Celery would hide everything below WARNING."""


@task_prerun.connect
def _bind_request(task: Any, **_: Any) -> None:
    """Let the logs and traces of a task have the id of the request that caused it, if any."""
    if request_id := task.request.get(REQUEST_ID):
        bind_contextvars(**{REQUEST_ID: request_id})


@task_postrun.connect
def _unbind_request(task: Any, **_: Any) -> None:
    if task.request.get(REQUEST_ID):
        unbind_contextvars(REQUEST_ID)


@task_prerun.connect
def _check_session(task: Any, **_: Any) -> None:
    """Close a thread's session if it is broken or too old, as Django does before a request."""
    if not task.request.is_eager:
        close_old_connections()
