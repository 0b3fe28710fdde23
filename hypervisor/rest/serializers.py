"""Base serializers, which refuse unknown fields instead of ignoring them."""

from collections.abc import Mapping
from copy import copy
from functools import cache, cached_property
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from django.db import models
from rest_framework import serializers

from hypervisor.base.names import NameField, NameSerializerField, TextSerializerField
from hypervisor.base.numbers import whole
from hypervisor.rest.compiled import Compiled
from hypervisor.rest.schemas import Described

M = TypeVar("M", bound=models.Model)


class StrictMixin:
    """A serializer that refuses unknown fields; read-only fields may be sent and are ignored."""

    _compiled: Compiled | None = None

    @cached_property
    def _readable_fields(self) -> list[Any]:  # each row of a list iterates over them
        return [field for field in self._all_fields() if not field.write_only]

    @cached_property
    def _writable_fields(self) -> list[Any]:
        return [field for field in self._all_fields() if not field.read_only]

    def _all_fields(self) -> list[Any]:
        return list(self.fields.values())  # type: ignore[attr-defined]

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return a serializer that validates the data of a POST.

        It shares its fields with all others of its class, because making them takes a millisecond.
        So it is only for a class whose fields do not depend on the request.
        """
        made: Any = cls
        serializer: Any = copy(_made_once(made))
        serializer.initial_data = data
        return serializer  # type: ignore[no-any-return]

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = self.fields  # type: ignore[attr-defined]
            errors = {name: [self._unknown(name)] for name in data if name not in known}
            if errors:
                raise serializers.ValidationError(errors, code="unknown_field")
            if self._compiled and data.__class__ is dict:
                fields = self._compiled.validated(self, data)
                if fields is not None:
                    return fields
        return super().to_internal_value(data)  # type: ignore[misc]

    def _unknown(self, name: str) -> str:
        """Return what to do about a field that does not exist; it may belong into another one."""
        fields = {field.field_name: field for field in self._writable_fields}
        within = [
            f for f, field in fields.items() if isinstance(field, Described) and name in field.keys
        ]
        meant = f" Did you mean `{within[0]}.{name}`?" if within else ""
        return f"There is no such field.{meant} The fields are: {', '.join(fields)}."

    def run_validators(self, value: Any) -> None:
        if self.validators:  # type: ignore[attr-defined]
            super().run_validators(value)  # type: ignore[misc]

    def to_representation(self, instance: Any) -> dict[str, Any]:
        shown = self._compiled and self._compiled.represented(instance)
        return shown or super().to_representation(instance)  # type: ignore[misc]


@cache
def _made_once(serializer_class: Any) -> Any:
    serializer = serializer_class()
    for field in (serializer, *(getattr(f, "child", None) for f in serializer.fields.values())):
        if isinstance(field, StrictMixin):
            field._compiled = Compiled(field)
    _ = serializer.validators
    return serializer


class ChoiceField(serializers.ChoiceField):
    """One of several values; the error for another value lists them."""

    default_error_messages: ClassVar = {
        "invalid_choice": '"{input}" is not one of the choices: {choices}.'
    }

    def fail(self, key: str, **values: Any) -> NoReturn:
        super().fail(key, choices=", ".join(map(str, self.choices)), **values)


class BooleanField(serializers.BooleanField):
    """true or false in a body, but not 1 or "yes"."""

    default_error_messages: ClassVar = {"invalid": "Give true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictSerializer(StrictMixin, serializers.Serializer[Any]):
    """A serializer without a model that refuses unknown fields."""


class StrictModelSerializer(StrictMixin, serializers.ModelSerializer[M]):
    """A serializer of a model that refuses unknown fields."""

    serializer_choice_field = ChoiceField
    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.BooleanField: BooleanField,
        models.CharField: TextSerializerField,
        models.TextField: TextSerializerField,
        NameField: NameSerializerField,
    }


MAX_ID = 2**63 - 1


class IntegerField(serializers.IntegerField):
    """A whole number in a body: 50, 50.0 or "50", but not "5_0"."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and whole(data) is None:
            self.fail("invalid")
        return super().to_internal_value(data)


class IdField(IntegerField):
    """The id of a row in a body."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=MAX_ID, **options)
