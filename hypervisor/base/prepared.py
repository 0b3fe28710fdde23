"""Queries that every request needs, compiled once: Django compiles a queryset again at each use.

Compiling takes several times as long as the statement itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from django.db import connection
from django.db.models import Field, Model, QuerySet
from psycopg.sql import quote

from hypervisor.base.stored import StoredFunction

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

    def of(self, value: Callable[..., Any]) -> "Prepared[M]":
        """Return this query of what `value` makes of other values, such as a subquery."""
        return Prepared(lambda *values: self._build(value(*values)), self._related)

    def __call__(self, *values: int | str) -> list[M]:
        """Return the rows for these values, which have the same types at each call."""
        (rows,) = read_together([self], *values)
        return rows

    def statement(self, *values: int | str) -> tuple[str, list[Any]]:
        """Return the SQL for these values, and its parameters."""
        sql, parameters = self._compiled or self._compile([type(value) for value in values])
        by_mark = {type(value)(_FIRST_MARK + n): value for n, value in enumerate(values)}
        return sql, [by_mark.get(value, value) for value in parameters]

    def text(self, types: Sequence[type[int | str]]) -> str:
        """Return the SQL for values of these types, as `$1`, `$2` and so on."""
        sql, parameters = self._compile(types)
        numbers = {kind(_FIRST_MARK + n): f"${n + 1}" for n, kind in enumerate(types)}
        return sql % tuple(numbers.get(value) or quote(value) for value in parameters)

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


class Together:
    """Prepared queries of the same numbers and texts, read by one message to the database.

    They are the queries of a stored function if the database has it: `takes` are the types of the
    values.
    """

    def __init__(self, *queries: "Prepared[Any]", takes: Sequence[type[int | str]]) -> None:
        self._queries = queries
        self._takes = takes
        arguments = ", ".join("bigint" if kind is int else "text" for kind in takes)
        self.function = StoredFunction("read_together", arguments, "void", self._body)

    def __call__(self, *values: int | str) -> list[list[Any]]:
        """Return the rows of each query for these values."""
        if len(self._queries) == 1 or not self.function.is_installed():
            return read_together(self._queries, *values)
        marks = ", ".join(["%s"] * len(values))
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {self.function.name}({marks}); {self._fetch}", values)
            return _results(cursor, self._queries, first=1)

    @cached_property
    def _fetch(self) -> str:
        """Fetch what each cursor has, and close them, so that the transaction may call again."""
        fetches = [f"FETCH ALL {name}" for name in self._cursors]
        return "; ".join([*fetches, "CLOSE ALL"])

    @property
    def _cursors(self) -> list[str]:
        return [f"rows_{number}" for number in range(len(self._queries))]

    def _body(self) -> str:
        declared = "".join(f"{name} refcursor := '{name}'; " for name in self._cursors)
        opened = "".join(
            f"OPEN {name} FOR {query.text(self._takes)}; "
            for name, query in zip(self._cursors, self._queries, strict=True)
        )
        return f"DECLARE {declared} BEGIN {opened} END"


def read_together(queries: "Sequence[Prepared[Any]]", *values: int | str) -> list[list[Any]]:
    """Return the rows of each query for these values, read by one message to the database."""
    statements = [query.statement(*values) for query in queries]
    with connection.cursor() as cursor:
        cursor.execute(
            "; ".join(sql for sql, _ in statements),
            [value for _, parameters in statements for value in parameters],
        )
        return _results(cursor, queries)


def _results(cursor: Any, queries: "Sequence[Prepared[Any]]", *, first: int = 0) -> list[list[Any]]:
    """Return the rows of each query; `first` is the number of the first one's result."""
    read = []
    for number, query in enumerate(queries, first):
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
