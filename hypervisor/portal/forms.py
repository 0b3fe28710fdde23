"""The base of the members' forms, whose rules are those of the REST API."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from rest_framework.serializers import BaseSerializer

from hypervisor.base.errors import DomainError


class ServiceForm(forms.Form):
    """A form that an API serializer checks, if it has one, and that shows a service's refusal.

    `shown_at` names the field that shows the errors of an attribute of the API, where the names
    differ. Errors of attributes without a field stand above the form. `given` is what the
    serializer returns. With `partial`, it has only the fields that change.
    """

    serializer_class: ClassVar[type[BaseSerializer[Any]] | None] = None
    partial: ClassVar[bool] = False
    shown_at: ClassVar[Mapping[str, str]] = {}
    given: dict[str, Any]

    def body(self) -> dict[str, Any]:
        """Return the body of the call of the API; empty fields are left out."""
        return {k: value for k, value in self.cleaned_data.items() if value not in (None, "")}

    def clean(self) -> None:
        """Add what the serializer refuses, so that all errors are shown at once.

        It knows the fields that are wrong already as None, and its errors for them say nothing new.
        """
        if self.serializer_class is None:
            return
        wrong = set(self.errors)
        self.cleaned_data = dict.fromkeys(wrong - {NON_FIELD_ERRORS}) | self.cleaned_data
        serializer = self.serializer_class(data=self.body(), partial=self.partial)
        if serializer.is_valid():
            self.given = dict(serializer.validated_data)
            return
        for attr, text in _leaves(serializer.errors):
            name = self._field(attr)
            if not wrong or (name and name not in wrong):
                self.add_error(name, text)

    def refuse(self, error: DomainError) -> None:
        """Show the refusal beside the field that it names, or else above the form."""
        self.add_error(self._field(error.attr or ""), error.detail)

    def _field(self, attr: str) -> str | None:
        name = self.shown_at.get(attr, attr)
        return name if name in self.fields else None


def _leaves(errors: Any, attr: str = "") -> Iterator[tuple[str, str]]:
    """Yield each error of a serializer with the innermost name that it stands under."""
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            yield from _leaves(inner, name)
    elif isinstance(errors, list):
        for inner in errors:
            yield from _leaves(inner, attr)
    else:
        yield attr, str(errors)
