"""Concurrent transactions: a lock on a row, and a second transaction that waits for a first."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep

from django.db import connection, connections, transaction

from hypervisor.base.errors import DomainError


@contextmanager
def held(table: str, pk: int, strength: str = "NO KEY UPDATE") -> Iterator[None]:
    """Lock a row in a separate session, as an operator's psql would."""
    holder = connections.create_connection("default")
    try:
        with holder.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT FROM {table} WHERE id = %s FOR {strength}", [pk])
            assert cursor.rowcount == 1
        yield
    finally:
        holder.close()


def is_any_lock_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def run_second_during_first(
    first: Callable[[], object], second: Callable[[], object]
) -> DomainError:
    """Begin the second before the first has committed; return the error that the second raises."""

    def in_thread() -> None:
        try:
            second()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            first()
            future = pool.submit(in_thread)
            deadline = monotonic() + 10
            while not is_any_lock_awaited():
                assert monotonic() < deadline, "the second does not wait for the first"
                sleep(0.01)
        error = future.exception(timeout=10)
    assert isinstance(error, DomainError), error
    return error
