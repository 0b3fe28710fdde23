import pytest

from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.baselines import POLICIES
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.trace import Job


@pytest.mark.parametrize(("percent", "idle_s", "waited"), [(10, 165, 165), (0, 0, 0)])
def test_a_replay_measures_the_idle_share_until_the_turn_ends(
    percent: int, idle_s: int, waited: int
) -> None:
    """After 1,800 s, job 2, which needs all of the capacity, has a turn of a tenth of that."""
    one, two = Resources(1_000, 1_024, 1), Resources(2_000, 2_048, 2)
    jobs = (
        Job(1, 0, 5_000, one, 1, "ml"),
        Job(2, 0, 900, two, 1, "ml"),
        Job(3, 1_815, 100, one, 1, "ml"),  # It fits, but the turn ends at 1,980.
    )
    terms = Terms(Policy(reservation_percent=percent))
    clusters = (Cluster(1, Resources(2_000, 2_048, 2)),)
    course = replay(jobs, clusters, POLICIES["ours"], terms, lambda _: None)
    assert course.lives[2].waited == waited
    assert summarize(course).idle_by_reservations == pytest.approx(idle_s / 5_900 / 2)
