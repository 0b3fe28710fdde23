"""Runs every command except `up` and `test`, Django's and the apps', with helpful errors."""

import os
import sys

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line, get_commands

from hypervisor.standalone import overview
from hypervisor.standalone.home import Home, given

_PLACEHOLDERS = {
    "ENVIRONMENT": "development",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
"""Settings without a service, for commands that need none, such as `check` and `plan`."""

_LOGS = {"LOG_LEVEL": "WARNING", "LOG_FORMAT": "console"}
"""Settings of commands: a person reads their output, so the log has only warnings and errors."""


def run(argv: list[str]) -> None:
    """Run a Django command on the service of the settings, or on the one that `up` runs here."""
    home = Home.current()
    elsewhere = bool(given("DATABASE_URL"))  # before reading the settings fills the environment
    os.environ.update({k: v for k, v in _LOGS.items() if not given(k)})
    if not elsewhere and not home.env.exists():
        os.environ.update({k: v for k, v in _PLACEHOLDERS.items() if not given(k)})
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
            sys.exit(f"error: The database at DATABASE_URL does not answer.\n({why})")
        sys.exit(
            f"error: No service is running on {home.path}. Start it in another terminal:"
            f" python3 manage.py up\n({why})"
        )


def _list_all() -> None:
    django.setup()
    print(f"{overview.overview()}\n\n{overview.other_commands(get_commands())}")  # noqa: T201 output
