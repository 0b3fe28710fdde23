from collections import Counter
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from benchmarks.workload import at_load, two_clusters, with_levels, workload
from scheduling.planner.resources import Resources
from scheduling.simulation.trace import Job

OPTIONS: dict[str, Any] = {
    "trace": None, "jobs": 400, "seed": 1, "longest": 3_600, "levels": "even",
}  # fmt: skip


def test_levels_are_drawn_evenly_or_kept_or_reduced_to_one() -> None:
    even = Counter(job.priority for job in workload(OPTIONS))
    assert set(even) == {0, 30, 60, 90}
    assert min(even.values()) > 70
    assert even == Counter(job.priority for job in workload(OPTIONS))
    assert {job.priority for job in workload({**OPTIONS, "levels": "one"})} == {0}
    kept = Counter(job.priority for job in workload({**OPTIONS, "levels": "trace"}))
    assert kept[90] < 40 < kept[0]


def test_a_trace_whose_priorities_are_no_levels_keeps_them() -> None:
    jobs = [Job(n, n, 50, Resources(1_000, 1_024, 1), priority, "ml")
            for n, priority in enumerate((0, 3, 70))]  # fmt: skip
    assert [job.priority for job in with_levels(jobs, "trace", 1)] == [0, 3, 70]
    assert [job.priority for job in with_levels(jobs[:2], "trace", 1)] == [0, 90]


def test_no_job_takes_longer_than_the_limit() -> None:
    assert max(job.duration for job in workload(OPTIONS)) == 3_600


@pytest.mark.parametrize("load", [0.5, 1.0])
def test_the_load_is_the_work_divided_by_the_capacity_during_the_submissions(load: float) -> None:
    clusters = two_clusters(2)
    jobs = [Job(n, n * 100, 50, Resources(1_000, 1_024, 1), 0, "ml") for n in range(11)]
    huge = Job(99, 500, 9_999, Resources(1_000, 1_024, 64), 0, "ml")  # It fits no cluster.
    spread = at_load([*jobs, huge], clusters, load)
    span = max(job.submit for job in spread)
    assert 11 * 50 / (4 * span) == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize(
    ("bench", "rows"),
    [
        (
            "full_load",
            ["strict priority", "kube-style", "with at most 3 evictions", "this planner with"],
        ),
        ("starvation", ["backfill alone", "reservation after a day", "run times known"]),
    ],
)
def test_a_bench_prints_a_table(bench: str, rows: list[str]) -> None:
    out = StringIO()
    call_command("bench", bench, "--jobs=40", "--gpus=8", "--longest=4000", stdout=out)
    for row in rows:
        assert row in out.getvalue()
