"""Fields with structure, as text that people type."""

from collections.abc import Callable
from typing import Any

import pytest

from hypervisor.portal import typed


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (typed.read_command, "python -c 'a b'", ["python", "-c", "a b"]),
        (typed.read_seconds, "90m", 5400),
        (typed.read_seconds, " 3600 ", 3600),
        (typed.read_seconds, "2 d", 172800),
        (typed.read_variables, "A=1\n\n B=x=y \n", {"A": "1", "B": "x=y"}),
        (typed.read_variables, "A=", {"A": ""}),
        (typed.read_labels, "team=vision, run=42", {"team": "vision", "run": "42"}),
        (typed.read_waits, "7, 8:running", [
            {"deployment": 7, "condition": "completed"},
            {"deployment": 8, "condition": "running"},
        ]),
        (typed.read_user, "1000", {"uid": 1000}),
        (typed.read_user, "1000:100", {"uid": 1000, "gid": 100}),
        (typed.read_conditions, "gpu.model=h100, a100\nzone!=b\nfast\n!spot", {
            "gpu.model": ["h100", "a100"],
            "zone": {"not": ["b"]},
            "fast": {"exists": True},
            "spot": {"exists": False},
        }),
    ],
)  # fmt: skip
def test_a_text_is_read(read: Callable[[str], Any], text: str, expected: Any) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("read", "text", "remedy"),
    [
        (typed.read_command, "echo 'a", "close each quotation mark"),
        (typed.read_seconds, "soon", "90m, 12h or 2d"),
        (typed.read_seconds, "-5", "90m, 12h or 2d"),
        (typed.read_variables, "A", "write one NAME=value on each line"),
        (typed.read_variables, "A=1\nA=2", "A is given twice"),
        (typed.read_secrets, "TOKEN=", "TOKEN has no value"),
        (typed.read_labels, "team", "team=vision, run=42"),
        (typed.read_waits, "7:failed", "8:running"),
        (typed.read_waits, "train", "ids of deployments"),
        (typed.read_user, "root", "1000:1000"),
        (typed.read_user, "1:2:3", "1000:1000"),
        (typed.read_conditions, "zone=a\nzone=b", "zone has two conditions"),
    ],
)
def test_a_wrong_text_is_refused_with_the_remedy(
    read: Callable[[str], Any], text: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=remedy):
        read(text)


@pytest.mark.parametrize(
    "conditions",
    [
        {"gpu.model": ["h100", "a100"], "spot": {"not": ["true"]}},
        {"fast": {"exists": True}, "slow": {"exists": False}},
        {"zone": {"in": ["a"], "weight": 5}, "rack": {"not": ["x", "y"], "weight": 2}},
        {"fast": {"exists": True, "weight": 3}},
    ],
)
def test_conditions_are_written_as_they_are_read(conditions: dict[str, Any]) -> None:
    text = typed.conditions_text(conditions)

    assert typed.read_conditions(text, weighted=True) == conditions


@pytest.mark.parametrize("seconds", [1, 59, 60, 5400, 7200, 86400, 90061])
def test_seconds_are_written_as_they_are_read(seconds: int) -> None:
    assert typed.read_seconds(typed.seconds_text(seconds)) == seconds
