"""Describe the entries of the audit trail in words."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.apps import apps
from django.db.models import DateTimeField, Field, Model

from accounts.models import AuditEntry

Names = dict[tuple[str, int], str]
"""The names of the rows that entries refer to, by the model's label and the id."""

_SECRET = "***"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Difference:
    """One column before and after a change; None before the row was added or after its deletion."""

    column: str
    before: str | None
    after: str | None

    @property
    def secret(self) -> bool:
        return self.before == _SECRET


def watched() -> dict[str, str]:
    """Return the name of each watched model by its label, sorted by name."""
    found = {
        _concrete(model)._meta.label_lower: _title(_concrete(model))
        for model in apps.get_models()
        if any(trigger.name == "audit_life" for trigger in getattr(model._meta, "triggers", ()))
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def names(entries: Iterable[AuditEntry]) -> Names:
    """Return the names of the rows that the entries refer to, with one query per model."""
    ids: dict[type[Model], set[int]] = defaultdict(set)
    for entry in entries:
        for values in (entry.before, entry.after):
            for column, value in (values or {}).items():
                target = _target(entry.model, column)
                if target and isinstance(value, int):
                    ids[target].add(value)
    return {
        (model._meta.label_lower, pk): str(row)
        for model, wanted in ids.items()
        for pk, row in _rows(model).in_bulk(wanted).items()
    }


def differences(entry: AuditEntry, known: Names) -> Sequence[Difference]:
    """Return the change of each column in the entry, with names in place of ids."""
    columns = {**(entry.before or {}), **(entry.after or {})}
    return [
        Difference(
            column=_label(entry.model, column),
            before=_text(entry.model, column, entry.before, known),
            after=_text(entry.model, column, entry.after, known),
        )
        for column in columns
    ]


def _text(label: str, column: str, values: dict[str, Any] | None, known: Names) -> str | None:
    if values is None:
        return None
    value = values.get(column)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    target = _target(label, column)
    if target:
        return known.get((target._meta.label_lower, value), f"{value} (deleted)")
    return _in_words(_field(label, column), value) or "empty"


def _in_words(field: "Field[Any, Any] | None", value: Any) -> str:
    """Return a value of the trail, which is JSON, as people read it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in sorted(value.items())) or "none"
    if isinstance(field, DateTimeField):
        return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)


@cache
def _field(label: str, column: str) -> "Field[Any, Any] | None":
    try:
        fields: Sequence[Field[Any, Any]] = apps.get_model(label)._meta.fields
    except LookupError:
        return None
    return next((field for field in fields if field.column == column), None)


def _label(label: str, column: str) -> str:
    field = _field(label, column)
    return str(field.verbose_name) if field else column


def _target(label: str, column: str) -> type[Model] | None:
    """Return the model that a column refers to."""
    field = _field(label, column)
    related = field.related_model if field else None
    return related if isinstance(related, type) else None


def _rows(model: type[Model]) -> Any:
    """Return the model's rows with the relations that their names need, to save a query each."""
    related = ["content_type"] if model._meta.label == "auth.Permission" else []
    return model._base_manager.select_related(*related)


def _concrete(model: type[Model]) -> type[Model]:
    return model._meta.concrete_model or model


def _title(model: type[Model]) -> str:
    if not model._meta.auto_created:
        return str(model._meta.verbose_name)
    owner, owned = (field for field in model._meta.fields if field.is_relation)
    return f"{owner.name}'s {owned.name}"
