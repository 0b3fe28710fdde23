from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError
from psycopg.errors import DeadlockDetected

from hypervisor.base import commands

_REPEATS = 10


class Command(commands.Command, migrate.Command):
    """Django's command, which continues if a migration was the victim of a deadlock.

    A migration locks one table after the other, and the former release, which may still be running,
    can lock the same tables in another order. What PostgreSQL then rolls back is applied again.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        for _ in range(_REPEATS):
            try:
                super().handle(*args, **options)
            except OperationalError as error:
                if not isinstance(error.__cause__, DeadlockDetected):
                    raise
                self.stderr.write("A deadlock rolled back a migration. It is applied again.")
            else:
                return
        super().handle(*args, **options)
