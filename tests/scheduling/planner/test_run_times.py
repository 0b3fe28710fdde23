"""How long deployments probably run."""

import pytest

from scheduling.planner.run_times import PastRunTimes, at_most


@pytest.mark.parametrize(
    ("elapsed", "expected"),
    [(0, 300), (99, 300), (100, 300), (101, 300), (200, 9000), (300, 9000), (9000, 18_000)],
)
def test_it_is_the_median_of_those_that_ran_for_longer(elapsed: int, expected: int) -> None:
    """If it has run for longer than all others, it runs for as long again."""
    assert PastRunTimes([9000, 100, 300, 200]).expected(None, elapsed) == expected


def test_it_is_longer_than_it_has_run() -> None:
    assert PastRunTimes([0, 0]).expected(None, 0) == 1
    assert PastRunTimes([5]).expected(None, 5) == 10


def test_the_limit_caps_it() -> None:
    past = PastRunTimes([100])
    assert past.expected(50, 0) == 50
    assert past.expected(130, 110) == 130
    assert past.expected(130, 131) == 132


def test_without_others_the_limit_is_expected() -> None:
    assert PastRunTimes().expected(130, 20) == at_most(130, 20) == 130
    assert PastRunTimes().expected(130, 200) == at_most(130, 200) == 201
    assert PastRunTimes().expected(None, 20) is None
    assert at_most(None, 20) is None
