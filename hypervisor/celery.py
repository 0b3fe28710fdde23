"""The Celery application: wiring only; what the tasks do is in each app's services."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")

app = Celery("hypervisor")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The current app is one thread's; the web server's other threads take the default one.
app.set_default()
