"""The rules as laws over large worlds, and over a world that is too large for a search."""

from dataclasses import replace
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from benchmarks.laws import settles
from benchmarks.rules import Result, violations
from scheduling.planner import shortlist
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Backfill, Order, Policy
from scheduling.planner.search import levels, search
from scheduling.planner.snapshot import Snapshot
from tests.support.snapshots import large, policies

bounded = settings(
    max_examples=12, deadline=None, derandomize=True, database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)  # fmt: skip
seeds = st.integers(0, 2**32 - 1)


class World(NamedTuple):
    """The parameters of a snapshot, which a failure shows instead of hundreds of rows."""

    deployments: int
    clusters: int
    policy: Policy
    seed: int
    nodes: int

    def snapshot(self) -> Snapshot:
        return large(self.deployments, self.clusters, self.policy, self.seed, self.nodes)


worlds = st.builds(World, st.integers(60, 200), st.integers(4, 20), policies, seeds, st.just(1))
worlds_of_nodes = st.builds(
    World, st.integers(60, 200), st.integers(1, 4), policies, seeds, st.integers(2, 8)
)
once_broken = Policy(
    preemption_budget=1, budget_override_gap=2, starvation_seconds=0, backfill=Backfill.ENDING
)


@settings(bounded, max_examples=25)
@given(worlds)
@example(World(60, 8, once_broken, seed=0, nodes=1))
def test_no_plan_of_a_large_world_breaks_a_rule(world: World) -> None:
    snapshot = world.snapshot()
    assert violations(snapshot, make_plan(snapshot)) == []


@settings(bounded, max_examples=25)
@given(worlds_of_nodes)
def test_no_plan_of_a_large_world_with_nodes_breaks_a_rule(world: World) -> None:
    snapshot = world.snapshot()
    assert violations(snapshot, make_plan(snapshot)) == []


@bounded
@given(worlds_of_nodes)
def test_planning_on_the_result_of_a_large_world_with_nodes_changes_nothing(world: World) -> None:
    snapshot = world.snapshot()
    assert settles(snapshot, make_plan(snapshot))


@bounded
@given(worlds)
def test_planning_on_the_result_of_a_large_world_changes_nothing(world: World) -> None:
    snapshot = world.snapshot()
    assert settles(snapshot, make_plan(snapshot))


@bounded
@given(worlds, seeds)
def test_the_order_of_rows_does_not_matter_in_a_large_world(world: World, seed: int) -> None:
    snapshot, random = world.snapshot(), Random(seed)
    clusters = tuple(random.sample(snapshot.clusters, len(snapshot.clusters)))
    deployments = tuple(random.sample(snapshot.deployments, len(snapshot.deployments)))
    shuffled = replace(snapshot, clusters=clusters, deployments=deployments)
    assert make_plan(shuffled).to_json() == make_plan(snapshot).to_json()


def without_a_past(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot without reasons for suspensions, so that it is planned only once."""
    rows = [replace(d, past_victims=(), preempted_in_vain=False) for d in snapshot.deployments]
    return replace(snapshot, deployments=tuple(rows))


class Attempts:
    """The number of attempts that the search has made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._place_levels = levels.place_levels
        monkeypatch.setattr(search, "place_levels", self._counted)

    def _counted(self, *arguments: object) -> bool:
        self.count += 1
        return self._place_levels(*arguments)  # type: ignore[arg-type]


def test_a_plan_for_thousands_is_made_in_one_attempt_and_breaks_no_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 4,000 deployments the planner makes one attempt; with a higher limit it searches."""
    snapshot = without_a_past(large(4_100, 4, Policy(order=Order.MOST), seed=1))
    attempts = Attempts(monkeypatch)
    plan = make_plan(snapshot)
    assert attempts.count == 1
    assert plan.evictions
    assert plan.placements
    assert plan.wait_reasons
    assert violations(snapshot, plan) == []
    assert make_plan(Result(snapshot, plan).carried_out()).changes_nothing

    monkeypatch.setattr(shortlist, "LARGE", len(snapshot.deployments) + 1)
    attempts.count = 0
    make_plan(snapshot)
    assert attempts.count > 1
