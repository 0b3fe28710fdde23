"""Serializer fields for quantities: they accept numbers and quantities, and return numbers."""

from functools import partial
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clusters.resources import cores, parse_cpu, parse_mib, parse_ram_mib


@extend_schema_field(
    {
        "oneOf": [
            {"type": "number", "minimum": 0.001},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?m?$"},
        ],
        "description": 'Cores with up to three decimals, or a quantity such as "500m".',
        "example": 0.5,
    }
)
class CpuField(serializers.Field[int, Any, Any, Any]):
    """Millicores internally; cores or a quantity string in the API."""

    def to_internal_value(self, data: Any) -> int:
        return _parsed(parse_cpu, data)

    def to_representation(self, value: int) -> int | float:
        return cores(value)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTP]i|[kMGTP])$"},
        ],
        "description": 'MiB, or a quantity such as "8Gi".',
        "example": 8192,
    }
)
class RamField(serializers.Field[int, Any, Any, Any]):
    """MiB internally; MiB or a quantity string in the API."""

    def to_internal_value(self, data: Any) -> int:
        return _parsed(parse_ram_mib, data)

    def to_representation(self, value: int) -> int:
        return value


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1, "nullable": True},
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([KMGTP]i|[kMGTP])$"},
        ],
        "description": "How much of its node's disk the container may use for its files and its"
        ' output: MiB, or a quantity such as "8Gi". It is a limit, not a reservation. Engines that'
        " cannot enforce it refuse the deployment. Null: no limit.",
        "example": 8192,
    }
)
class StorageField(RamField):
    """The same for ephemeral storage."""

    def to_internal_value(self, data: Any) -> int:
        return _parsed(partial(parse_mib, what="Ephemeral storage"), data)


def _parsed(parse: Any, data: Any) -> int:
    try:
        result: int = parse(data)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error
    return result
