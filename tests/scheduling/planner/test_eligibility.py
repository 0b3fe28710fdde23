"""The eligible nodes are found as by a look at each of them."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner.policy import Policy
from scheduling.planner.problem import prepare
from scheduling.planner.snapshot import ClusterState, Snapshot
from tests.support.snapshots import large, snapshots

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@bounded
@given(st.integers(0, 2**32 - 1))
def test_eligible_nodes_are_the_open_ones_that_admit_and_are_large_enough(seed: int) -> None:
    """Also of more nodes than a tuple has."""
    random = Random(seed)
    problem = prepare(large(60, random.choice([3, 40, 100]), Policy(), seed, nodes=3))
    for d, deployment in enumerate(problem.deployments):
        open_ = [
            c
            for c, bin_ in enumerate(problem.bins)
            if problem.open[c] and deployment.admits(bin_) and bin_.state == ClusterState.ACTIVE
        ]
        expected = [c for c in open_ if deployment.request.fits_in(problem.bins[c].capacity)]
        assert list(problem.pool[d]) == open_
        assert list(problem.eligible[d]) == expected
        assert len(problem.eligible[d]) == len(expected)
        assert [c for c in range(len(problem.bins)) if c in problem.eligible[d]] == expected


@bounded
@given(snapshots())
def test_deployments_are_of_one_kind_if_their_requests_and_demands_are_equal(
    snapshot: Snapshot,
) -> None:
    problem = prepare(snapshot)
    kinds = dict[object, int]()
    for d, kind in zip(problem.deployments, problem.kinds, strict=True):
        assert kinds.setdefault((d.request, d.requested_cluster, d.require), kind) == kind
    assert len(kinds) == len(set(problem.kinds))
