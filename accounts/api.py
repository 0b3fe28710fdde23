"""Bases of every app's API that refuse what they do not know, instead of passing it over."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import filters, serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

M = TypeVar("M", bound=Model)


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


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    """Filters by the view's filter set; an unknown query parameter is an error."""

    def filter_queryset(self, request: Request, queryset: QuerySet[M], view: Any) -> QuerySet[M]:
        filterset_class = self.get_filterset_class(view, queryset)
        own = filterset_class.base_filters if filterset_class and view.action == "list" else ()
        known = {*own, "limit", "offset", "ordering", *getattr(view, "query_parameters", ())}
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            detail = f"There is no such query parameter. There are: {', '.join(sorted(known))}."
            raise ValidationError({name: detail for name in unknown}, code="unknown_parameter")
        if view.action != "list":
            return queryset
        filtered: QuerySet[M] = super().filter_queryset(request, queryset, view)
        return filtered


class StrictOrderingFilter(filters.OrderingFilter):
    """Orders by `?ordering=`, always ending in the id; an unknown field is an error."""

    def remove_invalid_fields(
        self, queryset: QuerySet[M], fields: Sequence[str], view: Any, request: Request
    ) -> list[str]:
        known = [name for name, _label in self.get_valid_fields(queryset, view)]
        unknown = [field for field in fields if field.removeprefix("-") not in known]
        if unknown:
            raise ValidationError(
                {"ordering": f"Cannot order by {unknown[0]}. Possible: {', '.join(known)}."}
            )
        return [*fields, "id"]
