"""Pages of lists that skip no row while other rows come and go.

A page starts after, or ends before, a position in the list's order, not after a number of rows. The
cursor in the links `next` and `previous` contains the position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from hypervisor.base.slices import part
from hypervisor.rest.parameters import whole_number

_NOTHING = Q(pk__in=())
_MAX_OFFSET = 2**31


@dataclass(frozen=True, slots=True)
class Key:
    """One column of an order."""

    column: "Field[Any, Any]"
    descending: bool

    @property
    def name(self) -> str:
        return ("-" if self.descending else "") + self.column.name

    def beyond(self, value: Any) -> Q:
        """Return the condition for the rows after the value.

        NULL is greater than every other value, as in PostgreSQL.
        """
        name = self.column.name
        if value is None:
            return Q(**{f"{name}__isnull": False}) if self.descending else _NOTHING
        if self.descending:
            return Q(**{f"{name}__lt": value})
        null = Q(**{f"{name}__isnull": True}) if self.column.null else _NOTHING
        return Q(**{f"{name}__gt": value}) | null


@dataclass(frozen=True, slots=True)
class Order:
    """The total order of a list: its last column is the primary key."""

    keys: tuple[Key, ...]

    @classmethod
    def of(cls, queryset: QuerySet[Any]) -> "Order":
        return cls(tuple(_keys(queryset)))

    def reversed(self) -> "Order":
        return Order(tuple(Key(key.column, not key.descending) for key in self.keys))

    def names(self) -> list[str]:
        return [key.name for key in self.keys]

    def position(self, row: Model) -> list[Any]:
        """Return the row's position in the order, in values that JSON can represent."""
        values = (key.column.value_from_object(row) for key in self.keys)
        return [value.isoformat() if isinstance(value, datetime) else value for value in values]

    def beyond(self, position: Sequence[Any]) -> Q:
        """Return the condition for the rows after the position."""
        condition = _NOTHING
        for key, raw in reversed(list(zip(self.keys, position, strict=True))):
            value = key.column.to_python(raw)
            condition = key.beyond(value) | (Q(**{key.column.name: value}) & condition)
        return condition


def _keys(queryset: QuerySet[Any]) -> Iterator[Key]:
    """Yield each column once, up to the primary key, after which the order is total."""
    options = queryset.model._meta
    seen = set()
    for name in (*(queryset.query.order_by or options.ordering or ()), "pk"):
        plain = str(name).removeprefix("-")
        column = options.pk if plain == "pk" else options.get_field(plain)
        if column not in seen:
            seen.add(column)
            yield Key(column, str(name).startswith("-"))
        if column.primary_key:
            return


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position after which a page starts, or, `backwards`, before which it ends.

    Without a position the page is at the beginning, or, `backwards`, at the end of the list.
    """

    backwards: bool = False
    position: list[Any] | None = None

    def encoded(self, salt: str) -> str:
        return signing.dumps([self.backwards, self.position], salt=salt)

    @classmethod
    def decoded(cls, text: str, salt: str) -> "Cursor":
        """Read a cursor. Raises BadSignature unless it was made for this list in this order."""
        return cls(*signing.loads(text, salt=salt))


class KeysetPagination(BasePagination):
    """Pages with `count`, `next`, `previous` and `results`."""

    default_limit = 50
    max_limit = 500

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: Any = None
    ) -> list[Any]:
        assert isinstance(queryset, QuerySet)  # noqa: S101 a fault of the view, not of the caller
        self._url = remove_query_param(request.build_absolute_uri(), "offset")
        order = Order.of(queryset)
        self._salt = f"page of {queryset.model._meta.label} by {','.join(order.names())}"
        limit = whole_number(request, "limit", 1, self.max_limit) or self.default_limit
        offset = whole_number(request, "offset", 0, _MAX_OFFSET) or 0
        cursor = self._cursor(request)
        self.count = queryset.count()
        page, more = _read(queryset, order, cursor, offset, limit)
        further = offset > 0 or cursor.position is not None
        has_next, has_previous = (further, more) if cursor.backwards else (more, further)
        self.next = self._link(order, page[-1:], backwards=False) if has_next else None
        self.previous = self._link(order, page[:1], backwards=True) if has_previous else None
        return page

    def get_paginated_response(self, data: Any) -> Response:
        links = {"next": self.next, "previous": self.previous}
        return Response({"count": self.count, **links, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": "string", "nullable": True, "format": "uri"}
        count = {
            "type": "integer",
            "minimum": 0,
            "example": 1,
            "description": "Number of rows on all pages at the time of this response.",
        }
        return {
            "type": "object",
            "required": ["count", "next", "previous", "results"],
            "properties": {
                "count": count,
                "next": {
                    **link,
                    "example": None,
                    "description": "The page after this one; null on the last page.",
                },
                "previous": {
                    **link,
                    "example": None,
                    "description": "The page before this one; null on the first page.",
                },
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        number = {"type": "integer", "minimum": 0}
        limit = number | {
            "minimum": 1, "maximum": self.max_limit, "default": self.default_limit,
        }  # fmt: skip
        return [
            _parameter("limit", limit, "Number of rows on a page."),
            _parameter(
                "cursor", {"type": "string"},
                "Where the page starts or ends. Follow `next` and `previous`, which contain it"
                " together with all other parameters.",
            ),
            {
                **_parameter(
                    "offset", {**number, "maximum": _MAX_OFFSET},
                    "Number of rows to skip; cannot be combined with `cursor`. Rows that come or go"
                    " between two requests shift the rows after them: follow `next` instead.",
                ),
                "deprecated": True,
            },
        ]  # fmt: skip

    def _cursor(self, request: Request) -> Cursor:
        text = request.query_params.get("cursor")
        if text is None:
            return Cursor()
        if "offset" in request.query_params:
            raise ValidationError({"offset": "Give `cursor` or `offset`, not both."})
        try:
            return Cursor.decoded(text, self._salt)
        except signing.BadSignature as error:
            raise ValidationError(
                {
                    "cursor": "This is not a cursor of this list in this order. Follow `next` and"
                    " `previous` as they are, or start again without `cursor`."
                }
            ) from error

    def _link(self, order: Order, edge: Sequence[Model], *, backwards: bool) -> str:
        """Return the address of the page beyond the edge row.

        A page is empty if the rows beyond its position were deleted; its neighbor is then the page
        at that end of the list.
        """
        if not edge and not backwards:
            return remove_query_param(self._url, "cursor")
        cursor = Cursor(backwards, order.position(edge[0]) if edge else None)
        return replace_query_param(self._url, "cursor", cursor.encoded(self._salt))


def _read(
    queryset: QuerySet[Any], order: Order, cursor: Cursor, offset: int, limit: int
) -> tuple[list[Any], bool]:
    """Return the page in the list's order, and whether more rows follow in its direction."""
    direction = order.reversed() if cursor.backwards else order
    rows = queryset.order_by(*direction.names())
    if cursor.position is not None:
        rows = rows.filter(direction.beyond(cursor.position))
    found = list(part(rows, offset, offset + limit + 1))
    page = found[:limit]
    if cursor.backwards:
        page.reverse()
    return page, len(found) > limit


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
