"""Requirements and preferences: which labels satisfy them, and how they are read and written."""

from typing import Any

import pytest

from scheduling.planner.requirements import (
    Operator,
    Preference,
    Requirement,
    preferences,
    preferences_to_json,
    requirements,
    requirements_to_json,
)

FORMS = {"gpu.model": ["a100-80gb", "h100"], "spot": {"not": ["true"]}, "zone": {"exists": True}}


@pytest.mark.parametrize(
    ("form", "labels", "holds"),
    [
        (["a100", "h100"], {"model": "h100"}, True),
        (["a100", "h100"], {"model": "t4"}, False),
        (["a100", "h100"], {}, False),
        ({"not": ["t4"]}, {"model": "h100"}, True),
        ({"not": ["t4"]}, {"model": "t4"}, False),
        ({"not": ["t4"]}, {}, True),
        ({"exists": True}, {"model": ""}, True),
        ({"exists": True}, {"other": "t4"}, False),
        ({"exists": False}, {"model": "t4"}, False),
        ({"exists": False}, {}, True),
    ],
)
def test_a_requirement_compares_one_label(form: Any, labels: dict[str, str], holds: bool) -> None:
    [requirement] = requirements({"model": form})
    assert requirement.holds(labels) is holds


def test_requirements_are_read_in_the_order_of_their_labels_and_written_as_read() -> None:
    found = requirements(dict(reversed(FORMS.items())))
    assert found == (
        Requirement("gpu.model", Operator.IN, ("a100-80gb", "h100")),
        Requirement("spot", Operator.NOT_IN, ("true",)),
        Requirement("zone", Operator.EXISTS),
    )
    assert requirements_to_json(found) == FORMS


def test_a_preference_has_a_weight_of_1_unless_it_is_given() -> None:
    found = preferences({"zone": ["a"], "model": {"in": ["h100"], "weight": 5}})
    assert found == (
        Preference(Requirement("model", Operator.IN, ("h100",)), 5),
        Preference(Requirement("zone", Operator.IN, ("a",)), 1),
    )
    assert preferences(preferences_to_json(found)) == found


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (["zone"], "require: expected an object"),
        ({"zone": "a"}, "require.zone: expected a list of values, "),
        ({"zone": []}, "require.zone: expected a list of at least one text"),
        ({"zone": [1]}, "require.zone: expected a list of at least one text"),
        ({"zone": {"not": [True]}}, "require.zone.not: expected a list of at least one text"),
        ({"zone": {"not": ["a"], "exists": True}}, "require.zone: expected a list of values, "),
        ({"zone": {"exists": 1}}, "require.zone: expected a list of values, "),
        ({"zone": {"like": ["a"]}}, "require.zone: expected a list of values, "),
    ],
)
def test_an_error_in_a_requirement_names_the_label(document: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}"):
        requirements(document)


@pytest.mark.parametrize("weight", [0, 101, True, "1"])
def test_a_weight_is_a_whole_number_from_1_to_100(weight: object) -> None:
    with pytest.raises(ValueError, match=r"^prefer.zone.weight: expected a whole number from 1"):
        preferences({"zone": {"in": ["a"], "weight": weight}})
