"""The bench `forecast`: what was forecast in a replay, compared with the starts."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from benchmarks.forecast import (
    BY,
    EXPECTED,
    KNOWN,
    LAST_TWO,
    METHODS,
    SIMILAR,
    WAITS,
    Asked,
    Observer,
    figures,
    limits,
    mean_of,
)
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.trace import Job

ONE = Resources(1000, 1024, 1)
HOUR = 3600


def job(pk: int, submit: int, duration: int, tenant: str = "a") -> Job:
    return Job(pk, submit, duration, ONE, 0, tenant)


def asked(*jobs: Job, limited: dict[int, int] | None = None) -> list[Asked]:
    observer = Observer(jobs, limited or {})
    replay(jobs, (Cluster(1, ONE),), observer.decide, Terms(), lambda _: None)
    return list(observer.asked())


def test_each_method_knows_only_the_past() -> None:
    """The third job waits for the second, of which each method expects another end."""
    jobs = job(1, 0, 2 * HOUR), job(2, 3 * HOUR, 8 * HOUR), job(3, 4 * HOUR, 60)
    (said,) = asked(*jobs, limited={2: 24 * HOUR})
    assert said.left == 7 * HOUR
    assert said.said == {
        EXPECTED: HOUR,
        BY: 23 * HOUR,
        LAST_TWO: HOUR,
        SIMILAR: HOUR,
        KNOWN: 7 * HOUR,
        WAITS: None,
    }


def test_the_past_of_another_user_does_not_count() -> None:
    jobs = job(1, 0, 2 * HOUR, "b"), job(2, 3 * HOUR, 8 * HOUR), job(3, 4 * HOUR, 60)
    (said,) = asked(*jobs)
    assert (said.said[EXPECTED], said.said[KNOWN]) == (None, 7 * HOUR)


def test_the_median_of_recent_waits_counts_from_the_submission() -> None:
    jobs = (
        job(1, 0, HOUR), job(2, 100, 10), job(3, 2 * HOUR, 5 * HOUR), job(4, 3 * HOUR, 10),
        job(5, 4 * HOUR, 10),
    )  # fmt: skip
    said = {(each.left, each.said[WAITS]) for each in asked(*jobs)}
    assert (4 * HOUR, 3500) in said


def test_the_mean_of_the_last_two_grows_while_it_is_outlived() -> None:
    assert mean_of([100, 300], None, 0) == 200
    assert mean_of([100, 300], None, 200) == 260
    assert mean_of([100, 300], None, 260) == 560
    assert mean_of([100, 300], 230, 200) == 230
    assert mean_of([], None, 5) is None


def test_limits_are_usual_values_of_at_least_the_run_time() -> None:
    jobs = [job(n, 0, 1000 + n) for n in range(400)]
    found = limits(jobs, 0.5, 1)
    assert 150 < len(found) < 250
    assert all(limit >= jobs[pk].duration for pk, limit in found.items())
    assert set(found.values()) <= {HOUR // 2, HOUR, 2 * HOUR}


def test_the_figures_compare_with_the_wait_that_was_left() -> None:
    rows = [Asked(1000, {EXPECTED: 1100})] * 10 + [Asked(1000, {EXPECTED: 3000})] * 10
    rows += [Asked(1000, {EXPECTED: 600})] * 10 + [Asked(1000, {EXPECTED: None})] * 10
    found = figures(rows, EXPECTED)
    assert found is not None
    assert (found.forecasts, found.error_median, found.error_p90) == (0.75, 0.4, 2.0)
    assert found.within_quarter == pytest.approx(1 / 3)
    assert found.within_double == pytest.approx(2 / 3)
    assert found.later == pytest.approx(1 / 3)
    assert figures(rows[30:], EXPECTED) is None


def test_it_prints_a_table_for_each_trace() -> None:
    out = StringIO()
    call_command(
        "bench", "forecast", "--windows=1", "--jobs=150", "--load=1.4", "--levels=one",
        "--gpus=4", stdout=out,
    )  # fmt: skip
    text = out.getvalue()
    assert "generated: asked " in text
    assert all(f"\n{method}  " in text for method in METHODS)


def test_a_wrong_share_is_refused() -> None:
    with pytest.raises(CommandError, match="give a number from 0 to 1"):
        call_command("bench", "forecast", "--limited=2")


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"gone\.csv"):
        call_command("bench", "forecast", f"--trace={tmp_path / 'gone.csv'}")
