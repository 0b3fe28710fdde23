"""Statements of querysets that are made once for each process.

Django takes several milliseconds to make the statement of a complex queryset, and PostgreSQL less
than one to carry it out for a few rows. So what each scheduling cycle reads is made once, with
placeholders for what differs.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from django.db import connection
from django.db.models import QuerySet

from hypervisor.base.arrays import numbers

ANY_IDS: tuple[int, ...] = ()
"""The placeholder of `Among`'s numbers."""

ANY_TIME = datetime.min.replace(tzinfo=UTC)
"""The placeholder of a time."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose parameters may be the placeholders."""

    sql: str
    parameters: tuple[Any, ...]

    @classmethod
    def of(cls, rows: QuerySet[Any, Any]) -> Self:
        """Make the statement of a queryset of `values_list`."""
        sql, parameters = rows.query.sql_with_params()
        return cls(sql, tuple(parameters))

    def rows(self, ids: Collection[int], time: datetime = ANY_TIME) -> Iterator[tuple[Any, ...]]:
        """Yield the rows for these ids and this time, as PostgreSQL returns them."""
        given: dict[Any, Any] = {numbers(ANY_IDS): numbers(ids), ANY_TIME: time}
        with connection.cursor() as cursor:
            cursor.execute(self.sql, [given.get(each, each) for each in self.parameters])
            yield from cursor
