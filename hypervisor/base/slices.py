"""Read a part of a sorted list without joining other tables to all of its rows.

PostgreSQL joins before it sorts. So the keys of the part are found first, in a subquery, and only
their rows get what belongs to them.
"""

from typing import Any, TypeVar

from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)


def part(queryset: QuerySet[M, Any], start: int, stop: int) -> QuerySet[M, Any]:
    """Return the rows from `start` up to, but not including, `stop`, in the queryset's order."""
    query = queryset.query
    if not query.select_related or query.distinct or query.group_by is not None:
        return queryset[start:stop]
    return queryset.filter(pk__in=queryset.values("pk")[start:stop])
