import pytest

from scheduling.planner.plan import Plan, WaitReason
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment
from scheduling.simulation.baselines import POLICIES
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.reserved import holders, idle_share
from scheduling.simulation.trace import Job
from tests.support.planner_cases import active, cluster, ready

RESERVED = WaitReason(9, "reserved", {"reservation": {"cluster": 1, "node": 1, "until": None}}, "")
PLAN = Plan(wait_reasons=(WaitReason(5, "no_free_capacity", {}, ""), RESERVED))


def idle(*rows: Cluster | Deployment, plan: Plan = PLAN) -> float:
    clusters = [row for row in rows if isinstance(row, Cluster)]
    deployments = [row for row in rows if isinstance(row, Deployment)]
    waiting = {d.id: d for d in deployments if d.cluster is None}
    return idle_share(clusters, plan, waiting, [d for d in deployments if d.cluster is not None])


def test_the_holder_of_a_reservation_is_found_by_its_place() -> None:
    assert holders(PLAN) == {(1, 1): 9}


def test_free_capacity_is_idle_if_another_deployment_would_fit_there() -> None:
    rows = cluster(1, 8), cluster(2, 2), active(1, 5, 5), ready(9, 5, 4)
    assert idle(*rows, ready(3, 5, 3)) == pytest.approx(3 / 10)
    assert idle(*rows, ready(3, 5, 4)) == 0
    assert idle(*rows) == 0
    assert idle(*rows, ready(3, 5, 3, requested_cluster=2)) == 0


def test_no_more_is_idle_than_the_holder_requests() -> None:
    rows = cluster(1, 8), cluster(2, 2), active(1, 5, 2), ready(3, 5, 1)
    assert idle(*rows, ready(9, 5, 4, requested_cluster=1)) == pytest.approx(4 / 10)


def test_nothing_is_idle_without_a_reservation() -> None:
    rows = cluster(1, 8), active(1, 5, 5), ready(9, 5, 4), ready(3, 5, 3)
    assert idle(*rows, plan=Plan()) == 0


@pytest.mark.parametrize(("percent", "idle_s", "waited"), [(10, 165, 165), (0, 0, 0)])
def test_a_replay_measures_the_idle_share_until_the_turn_ends(
    percent: int, idle_s: int, waited: int
) -> None:
    """After 1,800 s, job 2, which needs all of the capacity, has a turn of a tenth of that."""
    one, two = Resources(1_000, 1_024, 1), Resources(2_000, 2_048, 2)
    jobs = (
        Job(1, 0, 5_000, one, 1, "ml"),
        Job(2, 10, 900, two, 1, "ml"),
        Job(3, 1_815, 100, one, 1, "ml"),  # It fits, but the turn ends at 1,980.
    )
    terms = Terms(Policy(reservation_percent=percent))
    clusters = (Cluster(1, Resources(2_000, 2_048, 2)),)
    course = replay(jobs, clusters, POLICIES["ours"], terms, lambda _: None)
    assert course.lives[2].waited == waited
    assert summarize(course).idle_by_reservations == pytest.approx(idle_s / 5_900 / 2)
