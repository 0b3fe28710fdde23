"""Small workloads with known results."""

from dataclasses import replace

import pytest

from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.baselines import POLICIES
from scheduling.simulation.engine import Decide, Life, Replay, Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.trace import Job, generate

ONE_GPU = (Cluster(1, Resources(4_000, 4_096, 1)),)


def job(number: int, submit: int, duration: int, priority: int = 1, gpu: int = 1) -> Job:
    return Job(number, submit, duration, Resources(1_000, 1_024, gpu), priority, "ml")


def course(*jobs: Job, decide: Decide = make_plan, terms: Terms | None = None) -> Replay:
    return replay(jobs, ONE_GPU, decide, terms or Terms(), lambda _: None)


def lives(*jobs: Job, decide: Decide = make_plan, terms: Terms | None = None) -> dict[int, Life]:
    return {life.job.id: life for life in course(*jobs, decide=decide, terms=terms).lives}


def test_a_job_waits_until_another_has_ended() -> None:
    first, second = lives(job(1, 0, 100), job(2, 10, 50)).values()
    assert (first.finished, second.finished) == (100, 150)
    assert (first.waited, second.waited) == (0, 90)


def test_an_evicted_job_starts_again_and_loses_its_work() -> None:
    low, high = lives(job(1, 0, 100), job(2, 60, 50, priority=2)).values()
    assert (high.finished, high.waited) == (110, 0)
    assert (low.finished, low.waited, low.lost, low.worked) == (210, 50, 60, 160)


def test_work_before_a_checkpoint_is_kept() -> None:
    terms = Terms(checkpoint_every=25)
    low, _ = lives(job(1, 0, 100), job(2, 60, 50, priority=2), terms=terms).values()
    assert (low.finished, low.lost, low.saved) == (160, 10, 50)


def test_a_job_waits_for_the_back_off_after_a_second_eviction() -> None:
    jobs = job(1, 0, 100), job(2, 10, 10, priority=2), job(3, 30, 10, priority=2)
    assert lives(*jobs)[1].finished == 190  # It is evicted at 30, and ready again at 90.
    assert lives(*jobs, terms=Terms(Policy(backoff_seconds=0)))[1].finished == 140


def test_a_job_is_not_evicted_before_its_minimum_run_time() -> None:
    terms = Terms(Policy(min_run_seconds=80))
    _, high = lives(job(1, 0, 100), job(2, 60, 50, priority=2), terms=terms).values()
    assert high.waited == 20


def test_a_job_that_fits_no_cluster_is_rejected_and_counted() -> None:
    result = course(job(1, 0, 100, gpu=2), job(2, 0, 10))
    assert result.rejected == 1
    assert [life.job.id for life in result.lives] == [2]


def test_the_summary_has_the_figures_of_the_replay() -> None:
    summary = summarize(course(job(1, 0, 100), job(2, 60, 50, priority=2)))
    assert summary.evictions == 1
    assert summary.goodput == pytest.approx(150 / 210)
    assert summary.utilisation["gpu"] == 1.0
    assert summary.utilisation["cpu_milli"] == 0.25
    assert [(level.priority, level.wait_mean) for level in summary.levels] == [(2, 0), (1, 50)]
    assert summary.lost_hours == pytest.approx(60 / 3600)
    assert summary.fairness == 1.0
    assert summary.biggest_wait == 50
    assert summary.out_of_order == 0


def test_the_smallest_first_starts_lower_priorities_out_of_order() -> None:
    jobs = job(1, 0, 100, priority=1), job(2, 0, 100, priority=2)
    assert course(*jobs, decide=POLICIES["smallest"]).out_of_order == 1
    assert course(*jobs).out_of_order == 0


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_finishes_every_job(name: str) -> None:
    clusters = (Cluster(1, Resources(32_000, 262_144, 8)), Cluster(2, Resources(16_000, 65_536, 4)))
    jobs = [
        replace(job, duration=job.duration % 500 + 1) for job in generate(60, seed=3, every_s=40.0)
    ]
    result = replay(jobs, clusters, POLICIES[name], Terms(), lambda _: None)
    assert all(life.finished is not None for life in result.lives)
    assert all(
        life.worked == life.job.duration + life.lost and life.finished is not None
        and life.finished == life.job.submit + life.waited + life.worked
        for life in result.lives
    )  # fmt: skip


def test_with_first_come_first_served_no_job_passes_another() -> None:
    jobs = job(1, 0, 100), job(2, 10, 50), job(3, 20, 10, gpu=0)
    assert lives(*jobs, decide=POLICIES["fcfs"])[3].waited == 80
    assert lives(*jobs, decide=POLICIES["strict"])[3].waited == 0


def test_kube_style_preemption_evicts_the_lower_priority() -> None:
    low, high = lives(job(1, 0, 100), job(2, 60, 50, priority=2), decide=POLICIES["kube"]).values()
    assert (low.lost, high.waited) == (60, 0)
