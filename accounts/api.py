"""Bases of every app's API that refuse what they do not know, instead of passing it over."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db.models import Model, QuerySet
from django_filters.rest_framework import DjangoFilterBackend, NumberFilter
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import filters, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import User
from accounts.names import NameField, NameSerializerField

M = TypeVar("M", bound=Model)

PAGE = ("limit", "cursor", "offset")
"""The query parameters of a list in pages."""


def caller(request: Request) -> User:
    """Return who is calling a view that takes nobody without a token."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


class StrictMixin:
    """A serializer that names an unknown field; what is read-only may come back and is ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = self.fields  # type: ignore[attr-defined]
            errors = {
                name: [f"There is no such field. There are: {', '.join(known)}."]
                for name in data
                if name not in known
            }
            if errors:
                raise serializers.ValidationError(errors, code="unknown_field")
        return super().to_internal_value(data)  # type: ignore[misc]


class StrictSerializer(StrictMixin, serializers.Serializer[Any]):
    """A plain serializer that refuses unknown fields."""


class StrictModelSerializer(StrictMixin, serializers.ModelSerializer[M]):
    """A model's serializer that refuses unknown fields."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        NameField: NameSerializerField,
    }


class StrictParametersMixin(APIView):
    """A viewset that names an unknown query parameter: `?dryrun=true` must not submit in earnest.

    A list takes its filters, pages and an ordering; `query_parameters` says what else an action
    takes.
    """

    query_parameters: ClassVar[Mapping[str, Sequence[str]]] = {}
    action: str

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = sorted({*self.query_parameters.get(self.action, ()), *self._list_parameters()})
        unknown = sorted(set(request.query_params) - set(known))
        if unknown:
            remedy = f"There are: {', '.join(known)}." if known else "This call takes none."
            detail = f"There is no such query parameter. {remedy}"
            raise ValidationError(dict.fromkeys(unknown, detail), code="unknown_parameter")

    def _list_parameters(self) -> list[str]:
        if self.action != "list":
            return []
        filterset = getattr(self, "filterset_class", None)
        return [*PAGE, "ordering", *(filterset.base_filters if filterset else ())]


@extend_schema_field(OpenApiTypes.INT)
class IntegerFilter(NumberFilter):  # type: ignore[misc]
    """Filters by a whole number, such as an id; 1.5 is an error, not 1."""

    field_class = forms.IntegerField


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    """Filters lists, and only lists, by the view's filter set."""

    def filter_queryset(self, request: Request, queryset: QuerySet[M], view: Any) -> QuerySet[M]:
        if view.action != "list":
            return queryset
        filtered: QuerySet[M] = super().filter_queryset(request, queryset, view)
        return filtered


class StrictOrderingFilter(filters.OrderingFilter):
    """Orders by `?ordering=`, always ending in the id; an unknown field is an error."""

    def remove_invalid_fields(
        self, queryset: QuerySet[M], fields: Iterable[str], view: Any, request: Request
    ) -> list[str]:
        known = [name for name, _label in self.get_valid_fields(queryset, view)]
        unknown = [field for field in fields if field.removeprefix("-") not in known]
        if unknown:
            raise ValidationError(
                {"ordering": f"Cannot order by {unknown[0]}. Possible: {', '.join(known)}."}
            )
        return [*fields, "id"]
