"""The one way to lock rows, or a name, until the transaction ends."""

from typing import Any, Self, TypeVar

from django.db import connection, models

from hypervisor.base.errors import NotFound

M = TypeVar("M", bound=models.Model)
Q = TypeVar("Q", bound="models.QuerySet[Any]")


def lock_name(name: str, number: int = 0) -> None:
    """Wait until no other transaction has locked this name and number, and lock them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [name, number])


def locked(rows: Q, *, for_deletion: bool = False, skip_locked: bool = False) -> Q:
    """Return the rows of any model as `LockingQuerySet.locked` does."""
    ordered = rows.order_by("pk")
    return ordered.select_for_update(no_key=not for_deletion, of=("self",), skip_locked=skip_locked)


def wait_at_most(milliseconds: int) -> None:
    """Limit how long this transaction waits for each lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])


class LockingQuerySet(models.QuerySet[M]):
    """Rows that can be locked, always in the order of their ids.

    Transactions that locked the same rows in different orders would deadlock. Rows that
    `select_related` joins are not locked.
    """

    def locked(self, *, for_deletion: bool = False, skip_locked: bool = False) -> Self:
        """Lock the rows when they are read: FOR NO KEY UPDATE, or FOR UPDATE before a deletion.

        Other transactions may insert rows that refer to a locked row unless it is locked for
        deletion. `skip_locked` skips the rows that another transaction has locked.
        """
        return locked(self, for_deletion=for_deletion, skip_locked=skip_locked)

    def get_locked(self, pk: Any, *, for_deletion: bool = False) -> M:
        """Lock one row and return its present state. Raises NotFound if it no longer exists."""
        row = self.locked(for_deletion=for_deletion).filter(pk=pk).first()
        if row is None:
            name = str(self.model._meta.verbose_name).capitalize()
            raise NotFound(f"{name} {pk} was deleted in the meantime.")
        return row
