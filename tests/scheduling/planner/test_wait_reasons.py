"""Wait reasons with an equal basis are the same in different plans, and their codes are cheap."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import BEYOND_BASIS, Plan, WaitReasons
from scheduling.planner.policy import Policy
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot
from tests.support.planner_cases import active, cluster, plan, ready
from tests.support.snapshots import large, policies, snapshots

bounded = settings(max_examples=40, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


def lasting_reasons(made: Plan, snapshot: Snapshot) -> dict[object, tuple[str, str]]:
    """Return the reasons that the basis decides, by deployment and basis."""
    assert isinstance(made.wait_reasons, WaitReasons)
    rows = {d.id: d for d in snapshot.deployments}
    return {
        (wait.deployment, basis): (wait.code, wait.reason)
        for wait in made.wait_reasons
        if (basis := made.wait_reasons.basis(rows[wait.deployment].priority)) is not None
        if wait.code not in BEYOND_BASIS
    }


def test_reasons_with_an_equal_basis_are_equal_in_plans_of_a_changing_world() -> None:
    compared = reserved = 0
    for seed in range(24):
        random = Random(seed)
        policy = Policy(starvation_seconds=random.choice([0, 10_000]), reservation_percent=100)
        snapshot = large(80, random.choice([2, 8]), policy, seed, nodes=random.choice([1, 4]))
        found = lasting_reasons(make_plan(snapshot), snapshot)
        for _ in range(3):
            # One that waits leaves, or capacity becomes free.
            rows = random.sample(snapshot.deployments, len(snapshot.deployments) - 1)
            snapshot = replace(snapshot, now=snapshot.now + 40, deployments=tuple(rows))
            made = make_plan(snapshot)
            present = lasting_reasons(made, snapshot)
            same = found.keys() & present.keys()
            compared += len(same)
            reserved += len(same) if made.reserved else 0
            assert found | present == present | found
            found |= present
    assert compared > 300
    assert reserved > 30


@settings(bounded, max_examples=100)
@given(st.one_of(snapshots(), st.builds(large, st.just(60), st.just(2), policies, seeds)))
def test_the_codes_of_all_that_wait_are_those_of_their_wait_reasons(snapshot: Snapshot) -> None:
    for _ in range(2):
        made = make_plan(snapshot)
        assert codes_by_group(made, snapshot) == {
            wait.deployment: wait.code for wait in made.wait_reasons
        }
        # Twice as many, so that most have one that is alike and some times differ.
        first = max((d.id for d in snapshot.deployments), default=0) + 1
        more = [
            replace(d, id=first + n, queued_at=d.queued_at - n)
            for n, d in enumerate(snapshot.deployments)
            if d.cluster is None
        ]
        snapshot = replace(snapshot, deployments=(*snapshot.deployments, *more))


@settings(bounded, max_examples=50)
@given(snapshots())
def test_the_first_clusters_are_those_that_could_run_it(snapshot: Snapshot) -> None:
    useless = {
        "exceeds_capacity", "no_matching_node", "cluster_cordoned", "cluster_draining",
        "cluster_lost", "overcommitted",
    }  # fmt: skip
    for wait in make_plan(snapshot).wait_reasons:
        rows = [row for row in wait.detail["clusters"] if row["code"] != "other_cluster"]
        rows.sort(key=lambda row: (row["code"] in useless, row["cluster"]))
        for row in rows:
            for sentence in ("name", "why", "nodes"):
                row.pop(sentence, None)
        assert wait.clusters(2) == (rows[:2], len(rows))


def codes_by_group(made: Plan, snapshot: Snapshot) -> dict[int, str]:
    """Return the code of each that waits; those that have one for themselves by their reasons."""
    backlog = Backlog.of(snapshot.deployments)
    starting = {placement.deployment for placement in made.placements}
    alone = {wait.deployment for wait in made.reserved}
    alone |= {suspension.deployment for suspension in made.suspensions}
    alone |= {d.id for d in backlog.others.values() if d.cluster is None}
    codes = {pk: wait.code for pk in alone if (wait := made.wait_reason(pk))}
    for group in backlog.groups.values():
        found = made.codes_of(group, alone | starting)
        others = group.ids - alone - starting
        codes |= dict.fromkeys(others, found) if isinstance(found, str) else dict(found)
    return codes


def test_a_basis_changes_with_what_is_free_for_its_priority_but_not_with_others_that_wait() -> None:
    full = plan(cluster(1, 8), active(1, 50, 8), ready(2, 10, 4))
    crowded = plan(cluster(1, 8), active(1, 50, 8), ready(2, 10, 4), ready(3, 20, 4))
    less_full = plan(cluster(1, 8), active(1, 50, 6), ready(2, 10, 4))
    assert basis(full) == basis(crowded) != basis(less_full)


def basis(made: Plan) -> object:
    assert isinstance(made.wait_reasons, WaitReasons)
    return made.wait_reasons.basis(10)


def test_only_a_sentence_that_several_have_in_common_is_kept() -> None:
    made = plan(cluster(1, 1), active(1, 5, 1, 1), ready(2, 4, 1), ready(3, 4, 1), ready(4, 3, 1))
    first, second, other = made.wait_reasons
    assert first.reason is second.reason
    assert other.reason == other.reason
    assert other.reason is not other.reason
