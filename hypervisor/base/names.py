"""Names of users, organizations, clusters and deployments that people can distinguish."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from rest_framework import serializers


def normalized(name: str) -> str:
    """Return the name in Unicode's normal form NFKC, without surrounding whitespace."""
    return unicodedata.normalize("NFKC", name).strip()


def listed(names: Sequence[str], most: int) -> str:
    """Return at most this many of the names for a sentence, with `…` if there are more."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers and joiners that count as printable but are drawn as nothing."""


def is_visible(character: str) -> bool:
    """Return whether the character is drawn as a mark or a blank."""
    return character.isprintable() and character not in _BLANK


def check_visible(name: str) -> None:
    """Raise ValidationError if the name contains invisible characters."""
    if not all(map(is_visible, name)):
        raise ValidationError(
            "Only visible characters and plain spaces are allowed: remove control and zero-width"
            " characters.",
            code="invisible",
        )


if TYPE_CHECKING:
    TextField = models.CharField[str, str]
else:
    TextField = models.CharField


class NameField(TextField):
    """A name that is normalized before it is validated, also by forms and serializers."""

    default_validators = [check_visible]

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return normalized(text) if isinstance(text, str) else text

    def deconstruct(self) -> Any:
        """Return a plain column for migrations: the difference does not concern the database."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class TextSerializerField(serializers.CharField):
    """A text in the API. A number is refused, because the tag 1.10 would become 1.1."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class PatternSerializerField(TextSerializerField, serializers.RegexField):
    """A text in the API that has to match a pattern."""


class NameSerializerField(TextSerializerField):
    """A name in the API."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        return super().run_validation(normalized(data) if isinstance(data, str) else data)
