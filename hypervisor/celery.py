"""The Celery application: wiring only; what the tasks do is in each app's services."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init

from hypervisor import sessions

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")

app = Celery("hypervisor")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app is one thread's; the web server's other threads take the default one.
app.set_default()


@celeryd_init.connect
@beat_init.connect
def _limit_sessions(**_: Any) -> None:
    """Hold the workers, before any is forked, and beat to their limits."""
    sessions.use(sessions.WORKER)
