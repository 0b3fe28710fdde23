"""The ASGI application that each web process serves."""

from django.conf import settings

from hypervisor.web.bridge import Bridge
from hypervisor.wsgi import application as django

THREADS = 8
"""Requests that one process handles at once; each thread has its own database connection."""

application = Bridge(
    django,
    threads=THREADS,
    streams=settings.LOG_FOLLOWERS,
    body_limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
)
