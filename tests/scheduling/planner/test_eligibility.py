"""The eligible nodes are found as by a look at each of them."""

from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner.eligibility import Eligibility
from scheduling.planner.policy import Policy
from scheduling.planner.problem import prepare
from scheduling.planner.requirements import requirements
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
@given(st.integers(0, 2**32 - 1))
def test_required_labels_are_found_as_by_a_look_at_each_node(seed: int) -> None:
    random = Random(seed)
    values = ["", "a", "b", "c"]
    snapshot = large(40, 9, Policy(), seed, nodes=3)
    bins = tuple(
        replace(b, node=replace(b.node, labels={k: random.choice(values) for k in random_labels}))
        for b in snapshot.bins
        for random_labels in [random.sample(["x", "y", "z"], random.randint(0, 3))]
    )
    eligibility = Eligibility(bins, [True] * len(bins))
    for deployment in snapshot.deployments:
        form: Any = [random.sample(values, 2), {"not": random.sample(values, 2)}]
        form += [{"exists": True}, {"exists": False}]
        document = {label: random.choice(form) for label in random.sample(["x", "y", "w"], 2)}
        asking = replace(deployment, require=requirements(document))
        expected = tuple(c for c, bin_ in enumerate(bins) if asking.admits(bin_))
        assert eligibility.admit(asking) == expected


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
