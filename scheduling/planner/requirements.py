"""Which labels of a node a deployment requires, and which it prefers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_FORMS = 'expected a list of values, {"not": [values]} or {"exists": true or false}'


class Operator(StrEnum):
    """How a requirement compares a node's label with its values.

    A node without the label satisfies `NOT_IN` and `ABSENT`.
    """

    IN = "in"
    NOT_IN = "not in"
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition on one label of a node. `EXISTS` and `ABSENT` have no values."""

    label: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.label)
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.ABSENT:
                return value is None

    def to_json(self) -> list[str] | dict[str, Any]:
        match self.operator:
            case Operator.IN:
                return list(self.values)
            case Operator.NOT_IN:
                return {"not": list(self.values)}
            case _:
                return {"exists": self.operator == Operator.EXISTS}

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN:
                return f"{self.label} is {self._values_in_words()}"
            case Operator.NOT_IN:
                return f"{self.label} is not {self._values_in_words()}"
            case Operator.EXISTS:
                return f"{self.label} exists"
            case Operator.ABSENT:
                return f"{self.label} does not exist"

    def _values_in_words(self) -> str:
        return " or ".join(value or '""' for value in self.values)


@dataclass(frozen=True, slots=True)
class Preference:
    """A requirement that decides only among equal plans; `weight`, from 1 to 100, compares it."""

    requirement: Requirement
    weight: int = 1

    def to_json(self) -> dict[str, Any]:
        form = self.requirement.to_json()
        return {**(form if isinstance(form, dict) else {"in": form}), "weight": self.weight}


def requirements(document: Any, path: str = "require") -> tuple[Requirement, ...]:
    """Build from parsed JSON, sorted by label.

    `{"gpu.model": ["a100-80gb", "h100"], "spot": {"not": ["true"]}, "zone": {"exists": true}}`.
    Raises ValueError, which names the label that is wrong.
    """
    return tuple(_requirement(label, form, where) for label, form, where in _items(document, path))


def preferences(document: Any, path: str = "prefer") -> tuple[Preference, ...]:
    """Build from parsed JSON, sorted by label.

    The form of `requirements`, where an object may have a `weight` (1), and `in` is a list's name
    in an object: `{"zone": ["a"], "gpu.model": {"in": ["h100"], "weight": 5}}`. Raises ValueError,
    which names the label that is wrong.
    """
    found = []
    for label, form, where in _items(document, path):
        weight = 1
        if isinstance(form, Mapping):
            form = dict(form)
            weight = form.pop("weight", 1)
            form = form["in"] if set(form) == {"in"} else form
        if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= 100:
            raise ValueError(f"{where}.weight: expected a whole number from 1 to 100")
        found.append(Preference(_requirement(label, form, where), weight))
    return tuple(found)


def requirements_to_json(rows: Sequence[Requirement]) -> dict[str, Any]:
    return {row.label: row.to_json() for row in rows}


def preferences_to_json(rows: Sequence[Preference]) -> dict[str, Any]:
    return {row.requirement.label: row.to_json() for row in rows}


def labels(document: Any, path: str = "labels") -> dict[str, str]:
    """Return a node's labels from parsed JSON. Raises ValueError, which names the label."""
    found = {}
    for label, value, where in _items(document, path):
        if not isinstance(value, str):
            raise ValueError(f"{where}: expected text")  # noqa: TRY004 - one error for callers
        found[label] = value
    return found


def _items(document: Any, path: str) -> Iterator[tuple[str, Any, str]]:
    if not isinstance(document, Mapping):
        raise ValueError(f"{path}: expected an object")  # noqa: TRY004 - one error for callers
    for label in sorted(document):
        yield label, document[label], f"{path}.{label}"


def _requirement(label: str, form: Any, path: str) -> Requirement:
    if isinstance(form, list):
        return Requirement(label, Operator.IN, _values(form, path))
    match form:
        case {"not": list(values), **others} if not others:
            return Requirement(label, Operator.NOT_IN, _values(values, f"{path}.not"))
        case {"exists": bool(exists), **others} if not others:
            return Requirement(label, Operator.EXISTS if exists else Operator.ABSENT)
    raise ValueError(f"{path}: {_FORMS}")


def _values(values: list[Any], path: str) -> tuple[str, ...]:
    if not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{path}: expected a list of at least one text")
    return tuple(values)
