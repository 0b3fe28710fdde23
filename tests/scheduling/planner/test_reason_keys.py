"""Wait reasons with equal keys have the same code and the same reason, also of different plans."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Snapshot
from tests.support.planner_cases import active, cluster, plan, ready
from tests.support.snapshots import large, policies, snapshots

bounded = settings(max_examples=40, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


def reasons_by_key(made: Iterable[Plan]) -> dict[object, set[tuple[str, str]]]:
    found: dict[object, set[tuple[str, str]]] = {}
    for each in made:
        for wait in each.wait_reasons:
            found.setdefault(wait.key, set()).add((wait.code, wait.reason))
    return found


@bounded
@given(policies, seeds)
def test_equal_keys_of_plans_of_a_changing_world_have_equal_reasons(
    policy: Policy, seed: int
) -> None:
    random = Random(seed)
    snapshot = large(80, random.choice([2, 8]), policy, seed, nodes=random.choice([1, 4]))
    plans = [make_plan(snapshot)]
    for _ in range(3):
        rows = random.sample(snapshot.deployments, len(snapshot.deployments) - 1)
        snapshot = replace(snapshot, now=snapshot.now + 40, deployments=tuple(rows))
        plans.append(make_plan(snapshot))
    assert all(len(reasons) == 1 for reasons in reasons_by_key(plans).values())


@settings(bounded, max_examples=100)
@given(st.one_of(snapshots(), st.builds(large, st.just(60), st.just(2), policies, seeds)))
def test_the_codes_of_all_that_wait_are_those_of_their_wait_reasons(snapshot: Snapshot) -> None:
    for _ in range(2):
        made = make_plan(snapshot)
        codes = made.wait_codes(snapshot.deployments)
        assert codes == {wait.deployment: wait.code for wait in made.wait_reasons}
        # Twice as many, so that most have one that is alike and some times differ.
        first = max((d.id for d in snapshot.deployments), default=0) + 1
        more = [
            replace(d, id=first + n, queued_at=d.queued_at - n)
            for n, d in enumerate(snapshot.deployments)
            if d.cluster is None
        ]
        snapshot = replace(snapshot, deployments=(*snapshot.deployments, *more))


def key_of(made: Plan, deployment: int) -> object:
    return next(wait.key for wait in made.wait_reasons if wait.deployment == deployment)


def test_a_key_changes_with_what_is_free_but_not_with_others_that_wait() -> None:
    full = plan(cluster(1, 8), active(1, 50, 8), ready(2, 10, 4))
    crowded = plan(cluster(1, 8), active(1, 50, 8), ready(2, 10, 4), ready(3, 20, 4))
    less_full = plan(cluster(1, 8), active(1, 50, 6), ready(2, 10, 4))
    assert key_of(full, 2) == key_of(crowded, 2) != key_of(less_full, 2)


def test_only_a_sentence_that_several_have_in_common_is_kept() -> None:
    made = plan(cluster(1, 1), active(1, 5, 1, 1), ready(2, 4, 1), ready(3, 4, 1), ready(4, 3, 1))
    first, second, other = made.wait_reasons
    assert first.reason is second.reason
    assert other.reason == other.reason
    assert other.reason is not other.reason
