"""Every command but `up` and `test`: Django's own and the apps', with errors that help."""

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line, get_commands

from hypervisor.standalone import overview
from hypervisor.standalone.home import Home, given

_NOWHERE = {
    "ENVIRONMENT": "development",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
"""Settings for commands that need no service, such as `check` and `plan`, where there is none."""

_LOGS = {"LOG_LEVEL": "WARNING", "LOG_FORMAT": "console"}
"""Settings of commands, whose output a person reads: their log says only what is wrong."""


def run(argv: list[str]) -> None:
    """Run a Django command on the service that this checkout's `up` runs, or on the given one."""
    home = Home.current()
    elsewhere = bool(given("DATABASE_URL"))  # asked now: reading the settings fills the environment
    os.environ.update({k: v for k, v in _LOGS.items() if not given(k)})
    if not elsewhere and not home.env.exists():
        os.environ.update({k: v for k, v in _NOWHERE.items() if not given(k)})
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hypervisor.settings")
    try:
        from django.conf import settings

        settings.DATABASES  # noqa: B018 reading one setting reads the environment
    except ImproperlyConfigured as error:
        sys.exit(f"error: {error}")
    from django.db import OperationalError

    from hypervisor.base.outages import sqlstate_of

    try:
        if argv[1:] == ["help", "--all"]:
            _list_all()
        else:
            execute_from_command_line(argv)
    except OperationalError as error:
        if sqlstate_of(error):
            raise
        why = str(error).splitlines()[0]
        if elsewhere or home.is_running():
            sys.exit(
                f"error: The database does not answer. DATABASE_URL says where it is.\n({why})"
            )
        sys.exit(
            f"error: No service is running on {home.path}. Start it in another terminal:"
            f" python3 manage.py up\n({why})"
        )


def _list_all() -> None:
    django.setup()
    print(f"{overview.overview()}\n\n{overview.djangos(get_commands())}")  # noqa: T201 an answer
