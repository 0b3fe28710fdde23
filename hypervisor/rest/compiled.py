"""What a serializer does for each row, found out once for a serializer that many requests share.

The results are those of Django REST framework: whatever is unusual is left to it.
"""

from collections.abc import Callable
from datetime import UTC
from operator import attrgetter
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import ISO_8601, serializers
from rest_framework.fields import empty
from rest_framework.relations import PKOnlyObject
from rest_framework.settings import api_settings

_REQUIRED, _SKIPPED = object(), object()
_UNUSUAL = (ValidationError, serializers.ValidationError, serializers.SkipField)

Step = Callable[[Any], Any]


class Compiled:
    """The steps that validate and represent the rows of one serializer."""

    def __init__(self, serializer: Any) -> None:
        self._inputs = [_Input(serializer, field) for field in serializer._writable_fields]
        self._outputs = [_output(field) for field in serializer._readable_fields]
        self._is_plain = all(len(step.field.source_attrs) == 1 for step in self._inputs)

    def validated(self, serializer: Any, data: dict[str, Any]) -> dict[str, Any] | None:
        """Return the validated fields, None if there is an error to be reported."""
        if not self._is_plain:
            return None
        fields: dict[str, Any] = {}
        try:
            for step in self._inputs:
                given = data.get(step.name, empty)
                value = step.absent() if given is empty else step.validate(given)
                if value is _REQUIRED:
                    return None
                if value is not _SKIPPED:
                    check = step.check and getattr(serializer, step.check)
                    fields[step.source] = check(value) if check else value
        except _UNUSUAL:
            return None
        return fields

    def represented(self, row: Any) -> dict[str, Any] | None:
        """Return the representation of a row, None if an attribute is missing."""
        shown: dict[str, Any] = {}
        try:
            for name, get, convert, field in self._outputs:
                value = get(row)
                if callable(value):
                    value = field.get_attribute(row)
                shown[name] = None if value is None else convert(value)
        except (AttributeError, KeyError, serializers.SkipField):
            return None
        return shown


class _Input:
    """How the value of one field is validated."""

    __slots__ = ("absent", "check", "field", "name", "source", "validate")

    def __init__(self, serializer: Any, field: Any) -> None:
        self.field = field
        self.name: str = field.field_name
        self.source: str = field.source
        self.validate: Step = field.run_validation
        check = f"validate_{self.name}"
        self.check = check if hasattr(serializer, check) else ""
        self.absent = _absent(field)


def _absent(field: Any) -> Callable[[], Any]:
    """Return a function that returns the value of a field that is not given."""
    try:
        value = field.run_validation(empty)
    except serializers.SkipField:
        return lambda: _SKIPPED
    except serializers.ValidationError:
        return lambda: _REQUIRED
    if callable(field.default):
        return lambda: field.run_validation(empty)
    return lambda: value


def _output(field: Any) -> tuple[str, Step, Step, Any]:
    """Return the field's name, what gets its value from a row, what converts it, and the field."""
    is_usual = type(field).get_attribute is serializers.Field.get_attribute
    get: Step = attrgetter(field.source) if is_usual else lambda row: _value(field, row)
    return field.field_name, get, _converter(field), field


def _value(field: Any, row: Any) -> Any:
    value = field.get_attribute(row)
    is_only_key = isinstance(value, PKOnlyObject)
    return None if is_only_key and value.pk is None else value


def _converter(field: Any) -> Step:
    method = type(field).to_representation
    if method is serializers.CharField.to_representation:
        return str
    if method is serializers.IntegerField.to_representation:
        return int
    convert: Step = field.to_representation
    if type(field) is not serializers.DateTimeField or api_settings.DATETIME_FORMAT != ISO_8601:
        return convert
    return lambda value: (
        f"{value.isoformat()[:-6]}Z" if getattr(value, "tzinfo", None) is UTC else convert(value)
    )
