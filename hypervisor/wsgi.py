"""The WSGI application, which the web server runs in its threads."""

import os

from django.core.wsgi import get_wsgi_application

from hypervisor import sessions

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")

application = get_wsgi_application()
sessions.use(sessions.WEB)
