"""The ASGI application that each web process serves."""

# First, because the others need the models that it loads.
from hypervisor.wsgi import application as django  # isort: skip

from django.conf import settings

from hypervisor.web.bridge import Bridge
from hypervisor.web.connections import allow_followers
from hypervisor.web.followers import Followers
from hypervisor.web.forwarding import Forwarding
from hypervisor.web.lifespan import Lifespan

THREADS = 8
"""Requests that one process handles at once; each thread has its own database connection."""

_bridge = Bridge(
    django,
    threads=THREADS,
    streams=settings.LOG_FOLLOWERS,
    body_limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    followers=Followers(settings.EVENT_FOLLOWERS),
)

# The process that serves followers also sends webhooks.
application = (
    Lifespan(Forwarding(_bridge, settings.EVENTS_URL, limit=settings.EVENT_FOLLOWERS), sends=False)
    if settings.EVENTS_URL
    else Lifespan(_bridge, sends=True)
)
allow_followers(settings.EVENT_FOLLOWERS)
