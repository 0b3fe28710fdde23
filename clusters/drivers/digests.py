"""The containers of many engines in brief, to find the engines that need a pass.

The ledger's runs have digests of the same form: see `deployments.runtime.survey`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection


@dataclass(frozen=True, slots=True)
class Digest:
    """The containers of one engine.

    `uids` are their number and the sum of the hashes of their uids, `steady` is whether all of them
    run, and `until` is when the first of them ends, None if that is not known of any.
    """

    uids: tuple[int, Decimal]
    steady: bool
    until: datetime | None = None


def uids(*, uid: str, run: str) -> str:
    """Return the two values of `Digest.uids` in SQL, from the columns of the uid and the run's id.

    A container without a uid has the one of `uid_by_run`.
    """
    every = f"coalesce({uid}, lpad(to_hex({run}), 32, '0')::uuid)"
    return f"count(*), sum(hashtextextended(({every})::text, 0))"


def read(sql: str, parameters: Sequence[Any]) -> dict[int, Digest]:
    """Execute a statement whose rows are a cluster's id and the values of its digest."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows = cursor.fetchall()
    return {pk: Digest((count, sum_), steady, until) for pk, count, sum_, steady, until in rows}
