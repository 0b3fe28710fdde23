"""The connection; Django finds it by the name of this module."""

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is usable if its server has sent nothing since the last statement.

    Each request begins with this check. A server that ends a connection sends a message and closes
    it, so only a connection with something to read is asked with a statement, as Django asks all.
    """

    def is_usable(self) -> bool:
        return self._is_silent() or super().is_usable()

    def _is_silent(self) -> bool:
        connection: Any = self.connection
        if connection is None or connection.closed:
            return False
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return not poll.poll(0)
