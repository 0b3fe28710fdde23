"""Locks on names that are held outside a transaction, for as long as a block runs.

Such a lock belongs to a transaction of a connection that does nothing else. So it outlasts the
transactions in the block, ends with its process, and works through a connection pooler that assigns
connections to transactions, where a session's lock would stay behind with another client's session.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

import psycopg
from django.db import connection

_kept: list[Any] = []
"""Connections without a transaction, for the next locks."""

_limit = 0
_lock = Lock()


class Name(NamedTuple):
    """What to lock. A shared lock excludes only locks that are not shared."""

    name: str
    number: int
    shared: bool = False


def keep_connections(count: int) -> None:
    """Keep this many connections for later locks, in this process and those that it forks."""
    global _limit
    _limit = count


@contextmanager
def try_to_hold(*names: Name) -> Iterator[bool]:
    """Try to lock the names until the end of this block; yield whether all of them were free.

    Raises OperationalError, also at the end of the block, when the connection has been lost; the
    lock may then have been free for a while.
    """
    with connection.wrap_database_errors:
        session, acquired = _begin(names)
    try:
        yield acquired
    finally:
        with connection.wrap_database_errors:
            _end(session)


def _begin(names: tuple[Name, ...]) -> tuple[Any, bool]:
    """Lock on a kept connection, or on a new one if that was closed in the meantime."""
    while session := _take():
        try:
            return session, _acquire(session, names)
        except psycopg.OperationalError:
            session.close()
    session = connection.get_new_connection(connection.get_connection_params())
    session.autocommit = True
    return session, _acquire(session, names)


def _acquire(session: Any, names: tuple[Name, ...]) -> bool:
    """Begin a transaction and try to lock the names. Without all of them, end it again."""
    locks = " AND ".join(
        f"pg_try_advisory_xact_lock{'_shared' if name.shared else ''}(hashtextextended(%s, %s))"
        for name in names
    )
    with session.cursor() as cursor:
        # The transaction is idle for as long as the block runs.
        cursor.execute(
            "BEGIN; SELECT set_config('idle_in_transaction_session_timeout', '0', true);"
            f" SELECT {locks}",
            [value for name in names for value in (name.name, name.number)],
        )
        cursor.nextset()
        cursor.nextset()
        acquired = bool(cursor.fetchone()[0])
        if not acquired:
            cursor.execute("ROLLBACK")
    return acquired


def _end(session: Any) -> None:
    try:
        session.execute("ROLLBACK")
    except BaseException:
        session.close()
        raise
    _give_back(session)


def _take() -> Any | None:
    with _lock:
        return _kept.pop() if _kept else None


def _give_back(session: Any) -> None:
    with _lock:
        if len(_kept) < _limit:
            _kept.append(session)
            return
    session.close()


def _forget() -> None:
    """Leave the parent's connections to it, in a forked process."""
    global _lock
    _kept.clear()
    _lock = Lock()


os.register_at_fork(after_in_child=_forget)
