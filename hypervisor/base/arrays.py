"""Arrays as parameters of statements, in PostgreSQL's own notation.

psycopg adapts each element of a list by itself. For thousands of rows that takes longer than the
statement; these functions write the whole array at once. The statement names the type, as in
`%s::bigint[]`.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import BooleanField, F, Func, Value

_NULL = "NULL"


def numbers(values: Iterable[int | None]) -> str:
    return f"{{{','.join([_NULL if value is None else str(value) for value in values])}}}"


def texts(values: Iterable[str | None]) -> str:
    return f"{{{','.join([_NULL if value is None else _quoted(value) for value in values])}}}"


def times(values: Iterable[datetime | None]) -> str:
    return texts(None if value is None else value.isoformat() for value in values)


class Among(Func):
    """A condition of a queryset: the column's value is one of these numbers.

    As `column__in=values`, but an array is one parameter.
    """

    template = "%(expressions)s::bigint[])"
    arg_joiner = " = ANY("

    def __init__(self, column: str, values: Iterable[int]) -> None:
        super().__init__(F(column), Value(numbers(values)), output_field=BooleanField())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
