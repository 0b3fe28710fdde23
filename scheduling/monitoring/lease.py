"""A lease: of several processes, one does the work, and another takes over when it stops."""

import secrets
import socket
import time

from django.db import connection

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that also advances while this process, or its machine, is stopped."""

_RENEW = """
    INSERT INTO scheduling_lease AS lease (name, holder, expires_at)
    VALUES (%(name)s, %(holder)s, clock_timestamp() + %(seconds)s * interval '1 second')
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE lease.holder = excluded.holder
       OR lease.expires_at < clock_timestamp()
       -- The database's clock has been set back.
       OR lease.expires_at > clock_timestamp() + %(seconds)s * interval '1 second'
"""


class Lease:
    """This process's claim to the work of this name, which it renews before `seconds` have passed.

    The database's clock decides when the claim of another process has expired. This process counts
    from before its own renewal, so it stops before another may begin, even after a pause.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._holder = f"{socket.gethostname()}:{secrets.token_hex(8)}"
        self._renewed_at: float | None = None

    @property
    def is_valid(self) -> bool:
        """Whether no other process can hold it now."""
        return self._renewed_at is not None and self._age() < self._seconds

    def hold(self) -> bool:
        """Renew the lease if a third of its time is over, or try to get it.

        Returns whether it is valid. Raises a DatabaseError if the database does not answer.
        """
        if self._renewed_at is None or self._age() > self._seconds / 3:
            began = time.clock_gettime(_CLOCK)
            self._renewed_at = began if self._renew() else None
        return self.is_valid

    def release(self) -> None:
        """Let another process take over at once."""
        self._renewed_at = None
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM scheduling_lease WHERE (name, holder) = (%s, %s)",
                [self._name, self._holder],
            )

    def _age(self) -> float:
        return time.clock_gettime(_CLOCK) - (self._renewed_at or 0)

    def _renew(self) -> bool:
        values: dict[str, str | float] = {
            "name": self._name,
            "holder": self._holder,
            "seconds": self._seconds,
        }
        with connection.cursor() as cursor:
            cursor.execute(_RENEW, values)
            return bool(cursor.rowcount)
