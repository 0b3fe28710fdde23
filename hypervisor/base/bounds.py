"""Limits, given by settings, on how much one user or one organization may have; 0 means no limit.

The rows are counted in the transaction that adds rows, under a lock for each setting and owner.
These locks are taken before all others, in the order of the bounds given.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from hypervisor.base import arrays
from hypervisor.base.errors import Conflict

Key = tuple[str, int]
"""What the lock of a bound is for: its setting and its owner."""

LOCK = (
    "SELECT pg_advisory_xact_lock(hashtextextended(setting, owner))"
    " FROM unnest(%(settings)s::text[], %(owners)s::bigint[]) AS bound(setting, owner)"
)
"""Locks bounds until the transaction ends; `lock_parameters` says which."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit on the number of `rows` that belong to the owner with this id.

    `setting` names the setting with the limit. `refusal` takes the present number and the limit and
    returns a sentence with the owner and the remedy.
    """

    setting: str
    owner: int
    rows: "QuerySet[Any]"
    refusal: Callable[[str, str], str]
    adding: int = 1

    @property
    def key(self) -> Key:
        return self.setting, self.owner

    @property
    def limit(self) -> int:
        return int(getattr(settings, self.setting))


def check(bounds: Sequence[Bound], *, lock: bool = True) -> list[tuple[Bound, int]]:
    """Raise Conflict if adding the rows would exceed one of the bounds.

    Returns how many rows there are for each bound with a limit. With `lock`, no other transaction
    adds such rows until this one ends.
    """
    bounds = [bound for bound in bounds if bound.limit]
    if not bounds:
        return []
    if lock:
        _lock(bounds)
    counted = list(zip(bounds, _counts(bounds), strict=True))
    for bound, there in counted:
        if there + bound.adding > bound.limit:
            detail = bound.refusal(f"{there:,}", f"{bound.limit:,} ({bound.setting})")
            raise Conflict(detail, code="limit_reached")
    return counted


def lock_parameters(keys: Iterable[Key]) -> Mapping[str, str]:
    """Return the parameters of LOCK."""
    keys = list(keys)
    return {
        "settings": arrays.texts(setting for setting, _ in keys),
        "owners": arrays.numbers(owner for _, owner in keys),
    }


def _counts(bounds: Sequence[Bound]) -> tuple[int, ...]:
    """Return the number of rows of each bound, counted in one statement."""
    queries = [b.rows.order_by().values("pk").query.sql_with_params() for b in bounds]
    counts = ", ".join(f"(SELECT count(*) FROM ({sql}) AS rows)" for sql, _ in queries)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}", [value for _, values in queries for value in values])
        return tuple(cursor.fetchone())


def _lock(bounds: Sequence[Bound]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, lock_parameters(bound.key for bound in bounds))
