"""The index of nodes finds what a look at all nodes finds."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rules import Result, violations
from scheduling.planner import shortlist
from scheduling.planner.packed import OVERDRAWN, pack
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.scale import Scale
from scheduling.planner.search import placement, state
from scheduling.planner.search.bitmap import Bitmap
from scheduling.planner.search.index import Index
from scheduling.planner.snapshot import Snapshot
from tests.support.snapshots import large, snapshots

bounded = settings(max_examples=100, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)


def plan_by_index(snapshot: Snapshot) -> dict[str, object]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (state, placement):
            patch.setattr(module, "MANY", 1)
        plan = make_plan(snapshot)
        assert violations(snapshot, plan) == []
        assert make_plan(Result(snapshot, plan).carried_out()).changes_nothing
        return plan.to_json()


@bounded
@given(snapshots(st.builds(Policy, starvation_seconds=st.just(10**9))))
def test_a_plan_by_index_is_the_same_without_reservations(snapshot: Snapshot) -> None:
    assert plan_by_index(snapshot) == make_plan(snapshot).to_json()


@bounded
@given(snapshots())
def test_a_plan_by_index_breaks_no_rule(snapshot: Snapshot) -> None:
    plan_by_index(snapshot)


@settings(bounded, max_examples=25)
@given(seeds)
def test_a_plan_by_index_of_a_large_world_is_the_same(seed: int) -> None:
    """In one attempt: a search by index examines fewer pairs, and so makes more attempts."""
    snapshot = large(120, 3, Policy(starvation_seconds=10**9), seed, nodes=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "LARGE", 0)
        assert plan_by_index(snapshot) == make_plan(snapshot).to_json()


@bounded
@given(seeds)
def test_an_index_follows_changes(seed: int) -> None:
    random = Random(seed)

    def amount() -> int:
        return pack(Resources(random.randint(0, 4), random.randint(0, 4), random.randint(0, 2)))

    number = random.choice([1, 30, 300])
    nodes = sorted(random.sample(range(number), -(-2 * number // 3)))
    amounts = [amount() for _ in range(number)]
    index = Index(nodes, lambda c: (amounts[c], amounts[c]))
    for _ in range(number):
        c = random.randrange(number)
        amounts[c] = amount() - amount()
        index.update({c})
        list(index.fits(amount()))
    request = amount()
    fitting = [c for c in nodes if not (amounts[c] - request) & OVERDRAWN]
    assert list(index.fits(request)) == sorted(fitting, key=lambda c: (amounts[c], c))
    distinct = {amounts[c]: c for c in sorted(fitting, reverse=True)}
    assert list(index.first_fits(request)) == [distinct[amount] for amount in sorted(distinct)]
    from_largest = sorted(fitting, key=lambda c: (-amounts[c], c))
    assert list(index.fits_from_largest(request)) == from_largest


@bounded
@given(seeds)
def test_an_index_in_the_order_of_what_is_free_finds_where_a_part_of_it_is_enough(
    seed: int,
) -> None:
    random = Random(seed)
    free, part = [[random.randint(0, 9) for _ in range(300)] for _ in range(2)]
    part = [min(pair) for pair in zip(free, part, strict=True)]
    index = Index(range(300), lambda c: (free[c], part[c]))
    for _ in range(300):
        c = random.randrange(300)
        free[c] = random.randint(0, 9)
        part[c] = random.randint(0, free[c])
        index.update({c})
    for request in range(11):
        fitting = [c for c in range(300) if part[c] >= request]
        in_order = sorted(fitting, key=lambda c: (free[c], c))
        assert list(index.fits(request)) == in_order
        assert index.first(request, 7) == in_order[:7]
        assert index.has_fitting(request) == bool(fitting)


@bounded
@given(seeds)
def test_a_bitmap_has_all_nodes_on_which_a_request_fits_and_few_others(seed: int) -> None:
    random = Random(seed)

    def amount(most: int) -> int:
        return pack(
            Resources(random.randint(0, most), random.randint(0, most), random.randint(0, 8))
        )

    most = random.choice([5, 10_000])
    requests = [amount(most) for _ in range(random.choice([0, 3, 400]))]
    free, load = [amount(2 * most) for _ in range(200)], [amount(most) for _ in range(200)]
    changed = list[int]()
    slack = [(c, free[c] - load[c]) for c in range(0, 200, 2)]
    bitmap = Bitmap(Scale(requests), slack, 0)
    for _ in range(100):
        changed.append(random.randrange(200))
        free[changed[-1]] = amount(2 * most)
    bitmap.follow(changed, free, load)
    for request in requests:
        fitting = {c for c in range(0, 200, 2) if not (free[c] - load[c] - request) & OVERDRAWN}
        nodes = bitmap.may_fit(request)
        found = {c for c in range(200) if nodes >> c & 1}
        assert fitting <= found
        if most == 5:
            assert fitting == found
