"""Filters and orderings of lists, which refuse unknown values instead of ignoring them."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from django import forms
from django.db.models import Model, QuerySet
from django_filters import MultipleChoiceFilter, TypedChoiceFilter
from django_filters.rest_framework import DjangoFilterBackend, NumberFilter
from drf_spectacular.drainage import set_override
from rest_framework import filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import MAX

M = TypeVar("M", bound=Model)


class SeveralFormField(forms.Field):
    """Several values of one parameter, each read by a field of the class `each`."""

    widget = forms.MultipleHiddenInput
    each: ClassVar[type[forms.Field]] = forms.CharField

    def clean(self, value: Any) -> list[Any]:
        each = self.each()
        return [each.clean(text) for text in value or ()]


class _NumberFormField(IntegerFormField):
    """A whole number that is not negative, such as an id."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"min_value": 0, **options})


class _SeveralNumbersFormField(SeveralFormField):
    each = _NumberFormField


class DescribedMixin:
    """Documents a filter by the schema of one value, which its label describes."""

    schema: ClassVar[dict[str, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_override(self, "field", {**self.schema, "description": kwargs.get("label", "")})


_WHOLE = {"type": "integer", "minimum": 0, "maximum": MAX}
_FLAG = {"type": "boolean"}


class IntegerFilter(DescribedMixin, NumberFilter):  # type: ignore[misc]
    """Filters by a whole number, such as an id; 1.5 is an error, not 1."""

    schema = _WHOLE
    field_class = _NumberFormField


class SeveralFilter(MultipleChoiceFilter):  # type: ignore[misc]
    """Filters by any of the parameter's values, each a text."""

    field_class = SeveralFormField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"distinct": False, **kwargs})
        self.null_value = None


class SeveralIntegersFilter(DescribedMixin, SeveralFilter):
    """Filters by any of several whole numbers."""

    schema = _WHOLE
    field_class = _SeveralNumbersFormField


class SeveralChoicesFilter(SeveralFilter):
    """Filters by any of several values from a list of choices."""

    field_class = MultipleChoiceFilter.field_class

    def __init__(self, *args: Any, choices: Sequence[tuple[str, Any]], **kwargs: Any) -> None:
        known = ", ".join(value for value, _label in choices)
        problem = f'"%(value)s" is not one of the choices: {known}.'
        super().__init__(
            *args, choices=choices, error_messages={"invalid_choice": problem}, **kwargs
        )


class _FlagField(forms.TypedChoiceField):
    def to_python(self, value: Any) -> Any:
        return super().to_python(value).lower()  # see `parameters.flag`


class FlagFilter(DescribedMixin, TypedChoiceFilter):  # type: ignore[misc]
    """Filters by `true` or `false`."""

    field_class = _FlagField
    schema = _FLAG

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        flags = [("true", "true"), ("false", "false")]
        super().__init__(
            *args,
            choices=flags,
            coerce=lambda text: text == "true",
            error_messages={"invalid_choice": "Give true or false."},
            **kwargs,
        )


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    """Applies the view's filter set if the view's action takes filters."""

    def filter_queryset(self, request: Request, queryset: QuerySet[M], view: Any) -> QuerySet[M]:
        if view.action not in view.filtered:
            return queryset
        filtered: QuerySet[M] = super().filter_queryset(request, queryset, view)
        return filtered


class StrictOrderingFilter(filters.OrderingFilter):
    """Orders by `?ordering=` and then by the id; refuses an unknown field."""

    def remove_invalid_fields(
        self, queryset: QuerySet[M], fields: Iterable[str], view: Any, request: Request
    ) -> list[str]:
        known = [name for name, _label in self.get_valid_fields(queryset, view)]
        unknown = [field for field in fields if field.removeprefix("-") not in known]
        if unknown:
            raise ValidationError(
                {"ordering": f"Cannot sort by {unknown[0]}. Allowed: {', '.join(known)}."}
            )
        return [*fields, "id"]

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        names = ", ".join(view.ordering_fields)
        one = f"-?({'|'.join(view.ordering_fields)})"
        return [
            {
                "name": self.ordering_param,
                "in": "query",
                "required": False,
                "description": "Fields to sort by, separated by commas; a `-` before a field sorts"
                f" in descending order. Allowed: {names}.",
                "schema": {"type": "string", "pattern": f"^{one}(,{one})*$"},
            }
        ]
