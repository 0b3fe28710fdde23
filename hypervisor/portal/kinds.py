"""A field to choose kinds of events in groups, also all of a subject at once."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from hypervisor.ui.data.event_kinds import GROUPS, label_of

_WHOLE = {group.whole[0] for group in GROUPS if group.whole}
_MEANINGS = {kind: text for group in GROUPS for kind, text in group.kinds.items()}


class _KindsWidget(forms.CheckboxSelectMultiple):
    """Check boxes in groups, of which those with a choice are open."""

    template_name = "portal/kinds.html"

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        meaning = _MEANINGS.get(value, "")
        return super().create_option(name, value, *args, **kwargs) | {"meaning": meaning}

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        context["groups"] = [
            (title, options, _chosen(options))
            for title, options, _index in context["widget"]["optgroups"]
        ]
        return context


def _chosen(options: Iterable[Mapping[str, Any]]) -> str:
    """Return in words how many options of a group are chosen, "" for none."""
    values = [option["value"] for option in options if option["selected"]]
    if _WHOLE.intersection(values):
        return "all chosen"
    return f"{len(values)} chosen" if values else ""


class KindsField(forms.MultipleChoiceField):
    """Its value is a list of kinds of events, and of subjects that stand for all of theirs."""

    widget = _KindsWidget

    def __init__(self, **options: Any) -> None:
        choices = [
            (
                group.title,
                [*([group.whole] if group.whole else []), *((k, label_of(k)) for k in group.kinds)],
            )
            for group in GROUPS
        ]
        super().__init__(choices=choices, **options)
