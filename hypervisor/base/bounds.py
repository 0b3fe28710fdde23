"""Bounds that settings put on how much one user or one organization may have; 0 means none.

They are counted in the transaction that adds, under a lock by setting and owner. These locks are
taken before all others, in the order of the bounds given.
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
    """`rows` belong to the owner with this id; a setting says how many there may be.

    `refusal` says in words whose they are and what to do, given how many there are and may be.
    """

    setting: str
    owner: int
    rows: "QuerySet[Any]"
    refusal: Callable[[str, str], str]
    adding: int = 1


def check(bounds: Sequence[Bound], *, lock: bool = True) -> None:
    """Raise Conflict when adding would go beyond one of the bounds.

    With the lock, nobody else adds to what they count until the transaction ends.
    """
    bounds = [bound for bound in bounds if _limit(bound)]
    if lock and bounds:
        _lock(bounds)
    for bound in bounds:
        limit, there = _limit(bound), bound.rows.order_by().count()
        if there + bound.adding > limit:
            detail = bound.refusal(f"{there:,}", f"{limit:,} ({bound.setting})")
            raise Conflict(detail, code="limit_reached")


def _lock(bounds: Sequence[Bound]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(setting, owner))"
            " FROM unnest(%s::text[], %s::bigint[]) AS bound(setting, owner)",
            [[bound.setting for bound in bounds], [bound.owner for bound in bounds]],
        )


def _limit(bound: Bound) -> int:
    return int(getattr(settings, bound.setting))
