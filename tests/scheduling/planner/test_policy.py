"""The thresholds: their allowed values, and what is computed from them."""

import subprocess
import sys
from typing import Any

import pytest

from scheduling.planner.policy import Policy, Unit


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("order", "random", "'random' is not one of most, fifo"),
        ("order", 1, "1 is not one of most, fifo"),
        ("min_run_seconds", -1, "-1 is not a whole number of seconds, at least 0"),
        ("min_run_seconds", True, "True is not a whole number of seconds, at least 0"),
        ("min_run_seconds", 1.5, "1.5 is not a whole number of seconds, at least 0"),
        ("preemption_budget", "3", "'3' is not a whole number of evictions, at least 0"),
        ("budget_window_seconds", 0, "0 is not a whole number of seconds, at least 1"),
        ("budget_override_gap", 0, "0 is not a whole number of steps of priority, from 1 to 100"),
        ("budget_override_gap", 101, "101 is not a whole number of steps of .*, from 1 to 100"),
    ],
)
def test_an_error_in_a_policy_names_the_field_and_the_allowed_values(
    field: str, value: object, complaint: str
) -> None:
    bad: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=rf"^policy\.{field}: {complaint}$"):
        Policy(**bad)


@pytest.mark.parametrize("gap", [1, 100])
def test_the_bounds_themselves_are_allowed(gap: int) -> None:
    assert Policy(budget_override_gap=gap).budget_override_gap == gap


@pytest.mark.parametrize("threshold", Policy.thresholds(), ids=lambda each: each.name)
def test_every_threshold_has_a_setting_and_a_sentence_and_its_name_ends_with_its_unit(
    threshold: Any,
) -> None:
    assert threshold.setting == f"SCHEDULER_{threshold.name.upper()}"
    assert threshold.meaning[0].isupper()
    assert threshold.meaning.endswith(".")
    assert threshold.name.endswith("_seconds") == (threshold.unit == Unit.SECONDS)
    assert threshold.label == threshold.label.strip()


def test_a_policy_with_other_values_keeps_the_rest() -> None:
    policy = Policy(min_run_seconds=60).with_values({"order": "fifo"})

    assert policy == Policy(min_run_seconds=60, order="fifo")


def test_the_back_off_begins_with_the_second_eviction_and_doubles_up_to_the_longest() -> None:
    policy = Policy(backoff_seconds=60, longest_backoff_seconds=300)

    assert [policy.backoff(n) for n in (0, 1, 2, 3, 4, 5, 500)] == [0, 0, 60, 120, 240, 300, 300]


def test_the_table_of_settings_reads_the_thresholds_without_loading_an_app() -> None:
    """Processes read the settings before Django is set up; some of them never set it up."""
    code = "import hypervisor.env, sys; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert Policy.__module__ in loaded
    assert [m for m in loaded if m in ("django.apps", "django.db") or m.endswith(".models")] == []
