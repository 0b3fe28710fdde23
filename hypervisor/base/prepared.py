"""Queries that every request needs, compiled once: Django compiles a queryset again at each use.

Compiling takes several times as long as the statement itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from django.db import connection
from django.db.models import Field, Model, QuerySet

M = TypeVar("M", bound=Model)

_FIRST_MARK = 7_300_000_000_000_000_001
"""Stands for the first argument while the queryset is compiled; it is no id and no limit."""


class Prepared(Generic[M]):
    """A queryset of whole rows that depends on numbers and texts alone, such as ids.

    `build` makes the queryset from these, `related` names the foreign key that it selects as well,
    if any. The values must appear in the SQL as they are given.
    """

    def __init__(self, build: Callable[..., "QuerySet[M]"], related: str = "") -> None:
        self._build = build
        self._related = related
        self._compiled: tuple[str, list[int | Any]] | None = None

    def __call__(self, *values: int | str) -> list[M]:
        """Return the rows for these values, which have the same types at each call."""
        (rows,) = read_together([self], *values)
        return rows

    def statement(self, *values: int | str) -> tuple[str, list[Any]]:
        """Return the SQL for these values, and its parameters."""
        sql, parameters = self._compiled or self._compile([type(value) for value in values])
        by_mark = {type(value)(_FIRST_MARK + n): value for n, value in enumerate(values)}
        return sql, [by_mark.get(value, value) for value in parameters]

    def rows(self, found: Iterable[Sequence[Any]]) -> list[M]:
        """Return the rows for what the database has found."""
        return [self._row(values) for values in found]

    def _compile(self, types: Sequence[type[int | str]]) -> tuple[str, list[Any]]:
        marks = [make(_FIRST_MARK + n) for n, make in enumerate(types)]
        queryset = self._build(*marks)
        sql, parameters = queryset.query.sql_with_params()
        missing = set(marks) - set(parameters)
        assert not missing, f"{missing} are not in the SQL"  # noqa: S101 an error in `build`
        self._model = queryset.model
        self._fields = _Fields(queryset.model)
        if self._related:
            field = queryset.model._meta.get_field(self._related)
            self._related_fields = _Fields(cast("type[Model]", field.related_model))
        self._compiled = sql, list(parameters)
        return self._compiled

    def _row(self, values: Sequence[Any]) -> M:
        row = self._fields.row(values)
        if self._related:
            related = self._related_fields.row(values[len(self._fields.names) :])
            setattr(row, self._related, related)
        return cast("M", row)


def read_together(queries: "Sequence[Prepared[Any]]", *values: int | str) -> list[list[Any]]:
    """Return the rows of each query for these values, read by one message to the database."""
    statements = [query.statement(*values) for query in queries]
    with connection.cursor() as cursor:
        cursor.execute(
            "; ".join(sql for sql, _ in statements),
            [value for _, parameters in statements for value in parameters],
        )
        read = []
        for number, query in enumerate(queries):
            # pghistory has gone to the last result already.
            cursor.set_result(number)
            read.append(query.rows(cursor.fetchall()))
        return read


class ReadAhead:
    """Rows that were read for a request together with its caller, each of which is taken once.

    They are as of the beginning of the request: under a lock, rows must be read again.
    """

    def __init__(self, rows: "Mapping[Prepared[Any], list[Any]]") -> None:
        self._rows = dict(rows)

    def take(self, query: Prepared[M]) -> list[M] | None:
        """Return the rows of the query, None if it was not read or they have been taken."""
        return self._rows.pop(query, None)


class _Fields:
    """The columns of a model, and how their values are converted."""

    def __init__(self, model: type[Model]) -> None:
        fields = cast("list[Field[Any, Any]]", model._meta.concrete_fields)
        self._model = model
        self.names = [field.attname for field in fields]
        self._converted = [
            (n, field.from_db_value)
            for n, field in enumerate(fields)
            if hasattr(field, "from_db_value")
        ]

    def row(self, values: Sequence[Any]) -> Model:
        mine = list(values[: len(self.names)])
        for n, convert in self._converted:
            mine[n] = convert(mine[n], None, connection)
        return self._model.from_db(connection.alias, self.names, mine)
