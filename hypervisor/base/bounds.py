"""Limits, given by settings, on how much one user or one organization may have; 0 means no limit.

The rows are counted in the transaction that adds rows, under a lock for each setting and owner.
These locks are taken before all others, in the order of the bounds given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from hypervisor.base.errors import Conflict


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


def check(bounds: Sequence[Bound], *, lock: bool = True) -> None:
    """Raise Conflict if adding the rows would exceed one of the bounds.

    With `lock`, no other transaction adds such rows until this one ends.
    """
    bounds = [bound for bound in bounds if _limit(bound)]
    if not bounds:
        return
    if lock:
        _lock(bounds)
    for bound, there in zip(bounds, _counts(bounds), strict=True):
        limit = _limit(bound)
        if there + bound.adding > limit:
            detail = bound.refusal(f"{there:,}", f"{limit:,} ({bound.setting})")
            raise Conflict(detail, code="limit_reached")


def _counts(bounds: Sequence[Bound]) -> tuple[int, ...]:
    """Return the number of rows of each bound, counted in one statement."""
    queries = [b.rows.order_by().values("pk").query.sql_with_params() for b in bounds]
    counts = ", ".join(f"(SELECT count(*) FROM ({sql}) AS rows)" for sql, _ in queries)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}", [value for _, values in queries for value in values])
        return tuple(cursor.fetchone())


def _lock(bounds: Sequence[Bound]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(setting, owner))"
            " FROM unnest(%s::text[], %s::bigint[]) AS bound(setting, owner)",
            [[bound.setting for bound in bounds], [bound.owner for bound in bounds]],
        )


def _limit(bound: Bound) -> int:
    return int(getattr(settings, bound.setting))
