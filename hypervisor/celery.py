"""The Celery application: only wiring; the tasks call the services of the apps."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init, task_prerun
from django.db import close_old_connections

from hypervisor import sessions
from hypervisor.base import long_locks

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


@task_prerun.connect
def _check_session(task: Any, **_: Any) -> None:
    """Close a thread's session if it is broken or too old, as Django does before a request."""
    if not task.request.is_eager:
        close_old_connections()
