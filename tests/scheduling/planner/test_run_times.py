"""How long deployments probably run."""

import pytest

from scheduling.planner.run_times import at_most, predicted, still_expected

MINUTE, HOUR = 60, 3600


def test_the_prediction_is_the_mean_of_the_last_two() -> None:
    assert predicted([100, 300, 90_000]) == 200
    assert predicted([100]) == 100
    assert predicted([0, 0]) == 1
    assert predicted([]) is None


@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [
        (0, 100),
        (99, 100),
        (100, 100 + MINUTE),
        (100 + MINUTE, 100 + 6 * MINUTE),
        (100 + 6 * MINUTE, 100 + 21 * MINUTE),
        (2 * HOUR, 100 + 231 * MINUTE),
        (1_000 * HOUR, 100 + 231 * MINUTE + (5 + 10 + 20 + 50 + 10 * 100) * HOUR),
    ],
)
def test_a_prediction_that_has_passed_grows(elapsed: int, expected: int) -> None:
    assert still_expected(100, None, elapsed) == expected
    assert expected > elapsed


def test_the_limit_caps_the_prediction() -> None:
    assert still_expected(100, 50, 0) == 50
    assert still_expected(100, 130, 110) == 130
    assert still_expected(100, 130, 131) == 132


def test_without_a_history_the_limit_is_expected() -> None:
    assert still_expected(None, 130, 20) == at_most(130, 20) == 130
    assert still_expected(None, 130, 200) == at_most(130, 200) == 201
    assert still_expected(None, None, 20) is None
    assert at_most(None, 20) is None
