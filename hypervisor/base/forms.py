"""Form fields that read text from outside strictly."""

from typing import Any

from django import forms

from hypervisor.base.numbers import whole


class IntegerFormField(forms.IntegerField):
    """A form field for a whole number."""

    def to_python(self, value: Any) -> int | None:
        if value in self.empty_values:
            return None
        number = whole(str(value))
        if number is None:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return number
