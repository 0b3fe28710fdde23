"""Queries that every request needs, compiled once: Django compiles a queryset again at each use.

Compiling takes several times as long as the statement itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from django.db import connection
from django.db.models import Field, Model, QuerySet

M = TypeVar("M", bound=Model)

_FIRST_MARK = 7_300_000_000_000_000_001
"""Stands for the first argument while the queryset is compiled; it is no id and no limit."""


class Prepared(Generic[M]):
    """A queryset of whole rows that depends on numbers alone, such as ids.

    `build` makes the queryset from the numbers, `related` names the foreign key that it selects as
    well, if any. The numbers must appear in the SQL as they are given.
    """

    def __init__(self, build: Callable[..., "QuerySet[M]"], related: str = "") -> None:
        self._build = build
        self._related = related
        self._compiled: tuple[str, list[int | Any]] | None = None

    def __call__(self, *numbers: int) -> list[M]:
        """Return the rows for these numbers."""
        sql, parameters = self._compiled or self._compile(len(numbers))
        by_mark = {_FIRST_MARK + n: number for n, number in enumerate(numbers)}
        with connection.cursor() as cursor:
            cursor.execute(sql, [by_mark.get(value, value) for value in parameters])
            return [self._row(values) for values in cursor.fetchall()]

    def _compile(self, count: int) -> tuple[str, list[Any]]:
        marks = range(_FIRST_MARK, _FIRST_MARK + count)
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
