"""Base serializers, which refuse unknown fields instead of ignoring them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model
from rest_framework import serializers

from hypervisor.base.names import NameField, NameSerializerField
from hypervisor.base.numbers import whole

M = TypeVar("M", bound=Model)


class StrictMixin:
    """A serializer that refuses unknown fields; read-only fields may be sent and are ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = self.fields  # type: ignore[attr-defined]
            errors = {
                name: [f"There is no such field. The fields are: {', '.join(known)}."]
                for name in data
                if name not in known
            }
            if errors:
                raise serializers.ValidationError(errors, code="unknown_field")
        return super().to_internal_value(data)  # type: ignore[misc]


class StrictSerializer(StrictMixin, serializers.Serializer[Any]):
    """A serializer without a model that refuses unknown fields."""


class StrictModelSerializer(StrictMixin, serializers.ModelSerializer[M]):
    """A serializer of a model that refuses unknown fields."""

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        NameField: NameSerializerField,
    }


class IntegerField(serializers.IntegerField):
    """A whole number in a body: 50, 50.0 or "50", but not "5_0"."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and whole(data) is None:
            self.fail("invalid")
        return super().to_internal_value(data)
