"""Transactions that have written something and stay open, which stop the purge of the change log.

The log keeps every change since the oldest of them, because a process that reads it may not have
seen that transaction's changes yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from hypervisor.base.durations import in_words
from scheduling.monitoring.alarm import Alarm

_LONG = timedelta(minutes=15)
"""Longer than any statement of a web server or worker may take."""

_FEW = 3
"""No more transactions are named; the others follow when these have ended."""

_OPEN = """
    SELECT coalesce(a.xact_start, hidden.since), a.pid, '', a.usename, a.datname,
           a.application_name, coalesce(host(a.client_addr), '')
    FROM pg_stat_activity a
    LEFT JOIN LATERAL (
        SELECT min(s.time) AS since FROM scheduling_sample s
        WHERE a.xact_start IS NULL AND age(s.xmin) < age(a.backend_xid)
    ) hidden ON true
    WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT prepared, NULL, gid, owner, database, '', '' FROM pg_prepared_xacts
    ORDER BY 1 LIMIT %s
"""
"""The purge waits for the transactions of all databases, because they share their numbers.

PostgreSQL shows when a transaction began, and its client, only to a member of its role or of
`pg_read_all_stats`. For any other reader, it is at least as old as the first sample that was
written after it.
"""


@dataclass(frozen=True, slots=True)
class OpenWrite:
    """An open transaction that has written something, since `since` by the database's clock.

    `pid` is that of its session on the server, None for a prepared transaction, which has no
    session but the identifier `gid`. `client` is empty for a local socket, or if it is not shown.
    """

    since: datetime
    pid: int | None
    gid: str
    user: str
    database: str
    application: str
    client: str

    @property
    def source(self) -> str:
        """Who keeps it open, for a sentence."""
        if self.pid is None:
            return f"prepared transaction {self.gid} of {self.user}, database {self.database}"
        application = self.application or "an unnamed application"
        client = f" at {self.client}" if self.client else ""
        return f"session {self.pid} of {self.user}, {application}{client}, database {self.database}"

    @property
    def end(self) -> str:
        """The statement that ends it."""
        if self.pid is None:
            quoted = self.gid.replace("'", "''")
            return f"ROLLBACK PREPARED '{quoted}'"
        return f"SELECT pg_terminate_backend({self.pid})"


def oldest(limit: int) -> list[OpenWrite]:
    """Return the open transactions of the server's databases that have written, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [limit])
        return [OpenWrite(*row) for row in cursor.fetchall() if row[0] is not None]


def found(now: datetime) -> Iterator[Alarm]:
    for write in oldest(_FEW):
        age = now - write.since
        if age >= _LONG:
            yield Alarm(
                "warning",
                f"A transaction has been open for {in_words(age.total_seconds())}: {write.source}",
                "It has written something, so the log of changed deployments grows until it ends,"
                " and the counters of the metrics wait. Commit it or roll it back; otherwise end"
                f" it in psql, which undoes what it wrote: {write.end};",
            )
