from typing import Any

from django.conf import settings
from rest_framework import serializers

from deployments.arrays.elements import ArraySpec
from deployments.models import Deployment
from hypervisor.rest.schemas import NAME, Described, closed
from hypervisor.rest.serializers import MAX_ID

_KEYS = ("size", "at_once")
LARGEST = 2**31 - 1
"""The largest number that the columns of arrays can have."""

_SIZE = {"type": "integer", "minimum": 1, "maximum": LARGEST}
_AT_ONCE = {**_SIZE, "nullable": True}
_PLACE = {
    "id": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
    "index": {"type": "integer", "minimum": 0, "maximum": LARGEST},
    "size": _SIZE,
    "at_once": _AT_ONCE,
}
AT_ONCE_BOUNDS = f"Give a whole number from 1 to {LARGEST}, or null for any number at once."


class ArrayField(Described, serializers.Field[Any, Any, Any, Any]):
    """`array`: in a submission the array to make, in a response the place of an element in one."""

    keys = _KEYS
    body_schema = {
        "description": "Submit this many equal deployments, of which at most `at_once` are active"
        " at the same time (null: any number). Each gets its index, from 0, in the variable"
        " HV_INDEX, and the size in HV_ARRAY_SIZE. The response is the first element. Null: submit"
        " one deployment.",
        "allOf": [closed("ArrayRequest", {"size": _SIZE, "at_once": _AT_ONCE}, "at_once")],
        "nullable": True,
        "example": {"size": 200, "at_once": 16},
    }
    answer_schema = {
        "description": "The array that it is an element of, and its index in there; null without"
        " one.",
        "allOf": [
            {
                NAME: "ArrayElement",
                "type": "object",
                "properties": _PLACE,
                "required": [*_PLACE],
            }
        ],
        "nullable": True,
    }

    def get_attribute(self, instance: Deployment) -> Deployment | None:
        return instance if instance.array_id else None

    def to_representation(self, value: Deployment) -> dict[str, Any]:
        array: Any = value.array
        return {
            "id": array.pk, "index": value.array_index, "size": array.size,
            "at_once": array.at_once,
        }  # fmt: skip

    def to_internal_value(self, data: Any) -> ArraySpec | None:
        instance = getattr(self.parent, "instance", None)
        if instance is not None:
            self._check_unchanged(instance, data)
            return None
        if not isinstance(data, dict):
            raise serializers.ValidationError(
                'Give an object, such as {"size": 200, "at_once": 16}.'
            )
        _check(data)
        return ArraySpec(data["size"], data.get("at_once"))

    def _check_unchanged(self, instance: Any, data: Any) -> None:
        element = self.get_attribute(instance)
        present = self.to_representation(element) if element else None
        given = data if isinstance(data, dict) else {}
        if present is None or not given.items() <= present.items():
            raise serializers.ValidationError(
                "A deployment cannot change its array: leave `array` out. To change how many of"
                " its elements may be active at once, use PATCH /arrays/{id}."
            )


def _check(data: dict[str, Any]) -> None:
    """Raise ValidationError, which names what is wrong within the object."""
    unknown = [name for name in data if name not in _KEYS]
    if unknown:
        text = f"There is no such field. The fields are: {', '.join(_KEYS)}."
        problems = {name: [text] for name in unknown}
        raise serializers.ValidationError(problems, code="unknown_field")
    if "size" not in data:
        raise serializers.ValidationError({"size": ["This field is required."]}, code="required")
    wrong = {}
    if not _is_number(data["size"]):
        wrong["size"] = [f"Give a whole number from 1 to {settings.MAX_ARRAY_SIZE}."]
    if data.get("at_once") is not None and not _is_number(data["at_once"]):
        wrong["at_once"] = [AT_ONCE_BOUNDS]
    if wrong:
        raise serializers.ValidationError(wrong)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST
