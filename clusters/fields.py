"""Serializer fields for quantities: they accept numbers and quantities, and return numbers."""

from functools import partial
from typing import Any

from rest_framework import serializers

from clusters.resources import (
    MAX_CPU_MILLI,
    MAX_RAM_MIB,
    cores,
    parse_cpu,
    parse_mib,
    parse_ram_mib,
)
from hypervisor.rest.schemas import Described

_FRACTION = r"0\.([1-9][0-9]{0,2}|0[1-9][0-9]?|00[1-9])"
_DECIMALS = r"(\.[0-9]{1,3})?"

_CPU = rf"^([1-9][0-9]{{0,6}}{_DECIMALS}|{_FRACTION}|[1-9][0-9]{{0,9}}m)$"
_DIGITS = {"Pi?": 3, "Ti?": 6, "Gi?": 9, "Mi?": 12, "(Ki|k)": 15}
_RAM = "|".join(
    rf"([1-9][0-9]{{0,{digits - 1}}}{_DECIMALS}|{_FRACTION}){unit}"
    for unit, digits in _DIGITS.items()
)
"""Patterns of quantities within the bounds; the fields accept more spellings, such as `08.0Gi`."""

_MIB = {"type": "integer", "minimum": 1, "maximum": MAX_RAM_MIB}
_MIB_OR_QUANTITY = [
    _MIB,
    {"type": "string", "pattern": f"^({_RAM})$", "example": "8Gi"},
]
_STORAGE = (
    "How much of its node's disk the container may use for its files and its output{}. It is a"
    " limit, not a reservation. Engines that cannot enforce it refuse the deployment. Null: no"
    " limit."
)


class CpuField(Described, serializers.Field[int, Any, Any, Any]):
    """Millicores internally; cores or a quantity string in the API."""

    body_schema = {
        "oneOf": [
            {"type": "number", "minimum": 0.001, "maximum": MAX_CPU_MILLI // 1000},
            {"type": "string", "pattern": _CPU, "example": "500m"},
        ],
        "description": 'Cores with up to three decimals, or a quantity such as "500m".',
        "example": 0.5,
    }
    answer_schema = {"type": "number", "minimum": 0, "description": "Cores.", "example": 0.5}

    def to_internal_value(self, data: Any) -> int:
        return _parsed(parse_cpu, data)

    def to_representation(self, value: int) -> int | float:
        return cores(value)


class RamField(Described, serializers.Field[int, Any, Any, Any]):
    """MiB internally; MiB or a quantity string in the API."""

    body_schema = {
        "oneOf": _MIB_OR_QUANTITY,
        "description": 'MiB, or a quantity such as "8Gi".',
        "example": 8192,
    }
    answer_schema = {"type": "integer", "minimum": 0, "description": "MiB.", "example": 8192}

    def to_internal_value(self, data: Any) -> int:
        return _parsed(parse_ram_mib, data)

    def to_representation(self, value: int) -> int:
        return value


class StorageField(RamField):
    """The same for ephemeral storage."""

    body_schema = {
        "oneOf": _MIB_OR_QUANTITY,
        "description": _STORAGE.format(': MiB, or a quantity such as "8Gi"'),
        "example": 8192,
    }
    answer_schema = {**_MIB, "description": _STORAGE.format(", in MiB"), "example": 8192}

    def to_internal_value(self, data: Any) -> int:
        return _parsed(partial(parse_mib, what="Ephemeral storage"), data)


def _parsed(parse: Any, data: Any) -> int:
    try:
        result: int = parse(data)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error
    return result
