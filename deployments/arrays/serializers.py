from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deployments.arrays.models import Array
from deployments.models import Status
from hypervisor.rest.schemas import NAME, example

_COUNTS = {str(status): {"type": "integer", "minimum": 0} for status in Status}
_EXAMPLE = {
    "id": 3,
    "organization": 1,
    "name": "sweep",
    "size": 200,
    "at_once": 16,
    "counts": dict.fromkeys(_COUNTS, 0) | {"pending": 150, "running": 16, "completed": 34},
    "created_by": 1,
    "created_at": "2026-01-05T09:10:00Z",
}


@extend_schema_field(
    {
        NAME: "ArrayCounts",
        "type": "object",
        "description": "How many of its elements are in each status; deleted ones are not counted.",
        "properties": _COUNTS,
        "required": [*_COUNTS],
    }
)
class CountsField(serializers.Field[Any, Any, Any, Any]):
    def get_attribute(self, instance: Any) -> dict[str, int]:
        return instance.counts or dict.fromkeys(_COUNTS, 0)

    def to_representation(self, value: dict[str, int]) -> dict[str, int]:
        return value


@example(answer=_EXAMPLE)
class ArraySerializer(serializers.ModelSerializer[Array]):
    """An array with its progress. `GET /deployments?array={id}` lists its elements."""

    # Needs a row of `with_counts()`.
    organization = serializers.IntegerField(source="organization_id", read_only=True)
    at_once = serializers.IntegerField(
        read_only=True,
        allow_null=True,
        help_text="How many of its elements may be active at the same time; null: any number.",
    )
    counts = CountsField(read_only=True)

    class Meta:
        model = Array
        fields = [
            "id", "organization", "name", "size", "at_once", "counts", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = fields
