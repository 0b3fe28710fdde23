"""The planner's work grows with the number of nodes, not with its square."""

from cProfile import Profile

from benchmarks.growth import large_cluster
from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Snapshot


def calls(snapshot: Snapshot) -> int:
    """Return how many functions a plan calls, which is the same in each run."""
    with Profile() as profile:
        make_plan(snapshot)
    return sum(entry.callcount for entry in profile.getstats())


def test_twice_as_many_nodes_and_deployments_take_at_most_three_times_the_work() -> None:
    """From 400 nodes, 4,000 deployments are planned in one attempt."""
    for shapes in (20, 0):
        few, many = (calls(large_cluster(nodes, shapes, seed=1)) for nodes in (400, 800))
        assert many <= 3 * few
