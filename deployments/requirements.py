"""Which labels of a node a deployment requires, and which it prefers, as JSON.

`require` has a condition for each label: `["a", "b"]` (the value is one of these), `{"not": ["a"]}`
(it is none of these, or there is no such label), `{"exists": true}` or `{"exists": false}`.
`prefer` has the same, where a condition in an object may have a `weight`: `{"in": ["a"], "weight":
5}`. The planner reads the same form.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from clusters.labels import wrong_key, wrong_value

Conditions = Mapping[str, Any]
"""Conditions by the label's name."""

MAX_LABELS = 32
MAX_VALUES = 64
MAX_WEIGHT = 100

_FORMS = 'Give a list of values, {"not": [values]} or {"exists": true or false}.'


def problems(document: Any, *, weighted: bool = False) -> dict[str, list[str]]:
    """Return what is wrong with each condition of a `require`, or with `weighted` of a `prefer`."""
    found = {
        str(key): wrong_key(key) or _wrong_condition(_unweighted(form) if weighted else form)
        or (_wrong_weight(form) if weighted else None)
        for key, form in document.items()
    }  # fmt: skip
    return {key: [problem] for key, problem in found.items() if problem}


def satisfied(require: Conditions, labels: Mapping[str, str]) -> bool:
    """Return whether a node with these labels satisfies every condition."""
    return all(holds(form, labels.get(key)) for key, form in require.items())


def holds(form: Any, value: str | None) -> bool:
    """Return whether a label's value, None if a node does not have it, satisfies a condition."""
    if isinstance(form, list):
        return value in form
    if "not" in form:
        return value not in form["not"]
    return bool((value is not None) == form["exists"])


def in_words(key: str, form: Any) -> str:
    """Return the condition as text for people: `zone is a or b`."""
    if isinstance(form, list):
        return f"{key} is {' or '.join(map(value_in_words, form))}"
    if "not" in form:
        return f"{key} is not {' or '.join(map(value_in_words, form['not']))}"
    return f"{key} exists" if form["exists"] else f"{key} does not exist"


def value_in_words(value: str) -> str:
    """Return a label's value as text for people, who would overlook an empty one."""
    return value or '""'


def sentences(conditions: Conditions) -> list[str]:
    """Return the conditions of a `require` or a `prefer` as texts for people."""
    return [
        in_words(key, _unweighted(form)) + _weight_in_words(form)
        for key, form in conditions.items()
    ]


def existing(nodes: Iterable[Mapping[str, str]], most: int = 10) -> str:
    """Return the labels of these nodes as text for people: `gpu.model (h100, l4), zone (a)`."""
    values: dict[str, set[str]] = {}
    for labels in nodes:
        for key, value in labels.items():
            values.setdefault(key, set()).add(value)
    if not values:
        return "none"
    return ", ".join(f"{key} ({_some(values[key], most)})" for key in sorted(values))


def _some(values: set[str], most: int) -> str:
    shown = [value_in_words(value) for value in sorted(values)[:most]]
    return ", ".join([*shown, *(["…"] if len(values) > most else [])])


def _unweighted(form: Any) -> Any:
    if not isinstance(form, dict):
        return form
    rest = {name: value for name, value in form.items() if name != "weight"}
    return rest["in"] if set(rest) == {"in"} else rest


def _weight_in_words(form: Any) -> str:
    return f" (weight {form['weight']})" if isinstance(form, dict) and "weight" in form else ""


def _wrong_weight(form: Any) -> str | None:
    weight = form.get("weight", 1) if isinstance(form, dict) else 1
    if isinstance(weight, int) and not isinstance(weight, bool) and 1 <= weight <= MAX_WEIGHT:
        return None
    return f"Give a `weight` from 1 to {MAX_WEIGHT}."


def _wrong_condition(form: Any) -> str | None:
    match form:
        case list(values) | {"not": list(values)} if isinstance(form, list) or len(form) == 1:
            return _wrong_values(values)
        case {"exists": bool()} if len(form) == 1:
            return None
    return _FORMS


def _wrong_values(values: list[Any]) -> str | None:
    if not 1 <= len(values) <= MAX_VALUES:
        return f"Give a list of 1 to {MAX_VALUES} values."
    return next(filter(None, map(wrong_value, values)), None)
