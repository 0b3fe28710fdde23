"""Bases of serializers that refuse what they do not know, instead of passing it over."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model
from rest_framework import serializers

from hypervisor.base.names import NameField, NameSerializerField
from hypervisor.base.numbers import whole

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

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        NameField: NameSerializerField,
    }


class IntegerField(serializers.IntegerField):
    """A whole number of a body: 50, 50.0 or "50", but not "5_0"."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and whole(data) is None:
            self.fail("invalid")
        return super().to_internal_value(data)
