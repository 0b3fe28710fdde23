"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application

from hypervisor import sessions

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")

application = get_wsgi_application()
sessions.use(sessions.WEB)
