"""The bounds of rule 9, over streams of small deployments that use the whole capacity.

A large deployment of the same priority is submitted with the first of them. The small ones pass
it, because more deployments run that way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random

import pytest

from benchmarks.rules import Result
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Snapshot
from scheduling.simulation.engine import Life, Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.trace import Job

LARGE = 1
THRESHOLD = 100


def gpus(number: int) -> Resources:
    return Resources(number * 1_000, number * 1_024, number)


@dataclass
class Stream:
    """A workload on one or two clusters: `longest` is the longest run of a small deployment, and
    `share` the large one's share of the capacity.
    """

    random: Random
    percent: int
    lasts: int
    longest: int = 0
    clusters: tuple[Cluster, ...] = ()
    gpu: int = 0
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = self.random
        self.longest = random.randint(50, 150)
        sizes = [random.randint(2, 3) for _ in range(random.randint(1, 2))]
        self.clusters = tuple(Cluster(c, gpus(gpu)) for c, gpu in enumerate(sizes, start=1))
        self.gpu = random.randint(2, max(sizes))
        begin = random.randrange(1 << 20)
        self.jobs = [self._job(begin, self.longest, self.gpu)]
        for _ in range(sum(sizes)):
            self.jobs += self._chain(begin)
        self.jobs += [self._job(begin + 1, self.longest, 1) for _ in range(random.randint(1, 2))]

    @property
    def share(self) -> Fraction:
        return Fraction(self.gpu, sum(c.capacity.gpu for c in self.clusters))

    def _chain(self, at: int) -> Iterator[Job]:
        """Yield small deployments, each submitted when the one before it could have ended."""
        end = at + self.lasts
        while at < end:
            duration = self.random.randint(1, self.longest)
            yield self._job(at, duration, 1)
            at += duration

    def _job(self, at: int, duration: int, gpu: int) -> Job:
        number = LARGE if gpu > 1 else LARGE + 1 + self.random.getrandbits(60)
        return Job(number, at, duration, gpus(gpu), 1, "ml")

    def until_the_large_one_starts(self, *, runtimes_known: bool = False) -> tuple[Life, int]:
        """Return the large deployment, and the number of periods in use at most."""
        periods = 0

        def decide(snapshot: Snapshot) -> Plan:
            nonlocal periods
            if all(d.id != LARGE or d.cluster for d in snapshot.deployments):
                return Plan()
            plan = make_plan(snapshot)
            periods = max(periods, len(Result(snapshot, plan).taking_turns))
            return plan

        policy = Policy(starvation_seconds=THRESHOLD, reservation_percent=self.percent)
        terms = Terms(policy, runtimes_known=runtimes_known)
        course = replay(self.jobs, self.clusters, decide, terms, lambda _: None)
        return next(life for life in course.lives if life.job.id == LARGE), periods


@pytest.mark.parametrize("seed", range(6))
def test_a_large_deployment_starts_in_one_of_its_turns(seed: int) -> None:
    random = Random(seed)
    stream = Stream(random, percent=random.choice([20, 50, 100]), lasts=5_000)
    large, periods = stream.until_the_large_one_starts()
    longest = stream.longest * periods * stream.share * 100 / stream.percent
    assert large.finished is not None
    assert THRESHOLD < large.waited <= 4 * max(longest, Fraction(THRESHOLD)) + stream.longest


@pytest.mark.parametrize("seed", range(8))
def test_a_large_deployment_starts_sooner_if_the_others_state_their_run_times(seed: int) -> None:
    stream = Stream(Random(seed), percent=10, lasts=1_000)
    large, _ = stream.until_the_large_one_starts(runtimes_known=True)
    assert large.finished is not None
    assert large.waited <= 2 * max(stream.longest, THRESHOLD)


def test_without_turns_a_large_deployment_starves_while_the_stream_lasts() -> None:
    stream = Stream(Random(1), percent=0, lasts=1_500)
    large, _ = stream.until_the_large_one_starts()
    assert large.waited >= stream.lasts


@pytest.mark.parametrize("seed", range(3))
def test_turns_keep_no_more_capacity_idle_than_the_percentage(seed: int) -> None:
    percent = Random(seed).choice([5, 20])
    stream = Stream(Random(seed), percent, lasts=1_500)
    policy = Policy(starvation_seconds=THRESHOLD, reservation_percent=percent)
    course = replay(stream.jobs, stream.clusters, make_plan, Terms(policy), lambda _: None)
    assert 0 < summarize(course).idle_by_reservations <= percent / 100
