from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deployments.arrays.fields import AT_ONCE_BOUNDS, LARGEST
from deployments.arrays.models import Array
from deployments.choices import Status
from hypervisor.rest.schemas import NAME, example
from hypervisor.rest.serializers import IntegerField, StrictModelSerializer

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


@example(change={"at_once": 32}, answer=_EXAMPLE)
class ArraySerializer(StrictModelSerializer[Array]):
    """An array with its progress. `GET /deployments?array={id}` lists its elements."""

    # Needs a row of `with_counts()`.
    organization = serializers.IntegerField(source="organization_id", read_only=True)
    at_once = IntegerField(
        min_value=1,
        max_value=LARGEST,
        allow_null=True,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), AT_ONCE_BOUNDS),
        help_text="How many of its elements may be active at the same time; null: any number.",
    )
    counts = CountsField(read_only=True)

    class Meta:
        model = Array
        fields = [
            "id", "organization", "name", "size", "at_once", "counts", "created_by", "created_at",
        ]  # fmt: skip
        read_only_fields = [
            "id", "organization", "name", "size", "counts", "created_by", "created_at",
        ]  # fmt: skip

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            self._check_unchanged(data)
        return super().to_internal_value(data)

    def _check_unchanged(self, data: dict[str, Any]) -> None:
        """Raise ValidationError if a field has another value that cannot change.

        The counts change all the time, so a caller who sends an array back has former ones.
        """
        present = self.to_representation(self.instance)
        wrong = {
            name: ["Of an array, only `at_once` can change: leave this field out."]
            for name in present.keys() & data.keys() - {"at_once", "counts"}
            if data[name] != present[name]
        }
        if wrong:
            raise serializers.ValidationError(wrong)
