from collections import Counter

import pytest

from benchmarks.workload import at_load, two_clusters, with_levels
from scheduling.planner.resources import Resources
from scheduling.simulation.trace import Job, generate

JOBS = list(generate(400, seed=1, every_s=60.0))


def test_levels_are_drawn_evenly_or_kept_or_reduced_to_one() -> None:
    even = Counter(job.priority for job in with_levels(JOBS, "even", 1))
    assert set(even) == {0, 30, 60, 90}
    assert min(even.values()) > 70
    assert even == Counter(job.priority for job in with_levels(JOBS, "even", 1))
    assert {job.priority for job in with_levels(JOBS, "one", 1)} == {0}
    kept = Counter(job.priority for job in with_levels(JOBS, "trace", 1))
    assert kept[90] < 40 < kept[0]


def test_a_trace_whose_priorities_are_no_levels_keeps_them() -> None:
    jobs = [Job(n, n, 50, Resources(1_000, 1_024, 1), priority, "ml")
            for n, priority in enumerate((0, 3, 70))]  # fmt: skip
    assert [job.priority for job in with_levels(jobs, "trace", 1)] == [0, 3, 70]
    assert [job.priority for job in with_levels(jobs[:2], "trace", 1)] == [0, 90]


@pytest.mark.parametrize("load", [0.5, 1.0])
def test_the_load_is_the_work_divided_by_the_capacity_during_the_submissions(load: float) -> None:
    clusters = two_clusters(2)
    jobs = [Job(n, n * 100, 50, Resources(1_000, 1_024, 1), 0, "ml") for n in range(11)]
    huge = Job(99, 500, 9_999, Resources(1_000, 1_024, 64), 0, "ml")  # It fits no cluster.
    spread = at_load([*jobs, huge], clusters, load)
    span = max(job.submit for job in spread)
    assert 11 * 50 / (4 * span) == pytest.approx(load, rel=0.02)
