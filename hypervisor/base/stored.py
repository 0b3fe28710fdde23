"""Functions in the database, whose statements PostgreSQL parses and plans once for each session.

A prepared statement would do the same, but belongs to a session, and a pooler gives each
transaction another one.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property
from time import monotonic

from django.db import connection

_LOOK_S = 60.0


class StoredFunction:
    """A function in PL/pgSQL. `migrate` adds it to the database.

    Its name ends in a digest of its text. So both releases find theirs during an upgrade, and a
    change of a table, which changes the text, needs no migration for the function.
    """

    def __init__(self, name: str, arguments: str, returns: str, body: Callable[[], str]) -> None:
        self._prefix = name
        self._signature = f"({arguments}) RETURNS {returns} LANGUAGE plpgsql"
        self._body = body
        self._is_installed = False
        self._look_at = 0.0

    @property
    def name(self) -> str:
        return self._definition[0]

    def is_installed(self) -> bool:
        """Return whether the database has the function; until it has, look once a minute."""
        if not self._is_installed and monotonic() >= self._look_at:
            self._look_at = monotonic() + _LOOK_S
            with connection.cursor() as cursor:
                cursor.execute("SELECT to_regproc(%s) IS NOT NULL", [self.name])
                (self._is_installed,) = cursor.fetchone()
        return self._is_installed

    def install(self) -> None:
        """Add the function to the database unless it is there."""
        if not self.is_installed():
            with connection.cursor() as cursor:
                cursor.execute(self._definition[1])
            self._is_installed = True

    @cached_property
    def _definition(self) -> tuple[str, str]:
        """The name of the function, and the statement that creates it."""
        text = f"{self._signature} AS $function$ {self._body()} $function$"
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = f"{self._prefix}_{digest[:16]}"
        return name, f"CREATE OR REPLACE FUNCTION {name}{text}"
