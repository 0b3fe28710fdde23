"""The rules as laws over random snapshots."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.laws import check, settles
from benchmarks.rules import violations
from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Snapshot
from scheduling.simulation.order import starts_out_of_order
from tests.support.snapshots import snapshots

TIGHT = 1_500

bounded = settings(max_examples=150, deadline=None, derandomize=True, database=None)


@bounded
@given(snapshots())
def test_no_plan_breaks_a_rule(snapshot: Snapshot) -> None:
    assert violations(snapshot, make_plan(snapshot)) == []


def test_no_plan_of_a_tight_world_breaks_a_rule() -> None:
    tally = check(TIGHT, seed=1)
    assert tally.broken == {}
    assert tally.reached["searched for fewer evictions"] > TIGHT / 10


@bounded
@given(snapshots())
def test_no_deployment_starts_in_place_of_a_higher_one(snapshot: Snapshot) -> None:
    assert starts_out_of_order(snapshot, make_plan(snapshot)) == 0


@bounded
@given(snapshots(levels=300))
def test_no_plan_over_hundreds_of_levels_breaks_a_rule(snapshot: Snapshot) -> None:
    assert violations(snapshot, make_plan(snapshot)) == []


@bounded
@given(snapshots())
def test_planning_on_the_result_changes_nothing(snapshot: Snapshot) -> None:
    assert settles(snapshot, make_plan(snapshot))


@bounded
@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(snapshot: Snapshot, random: Random) -> None:
    clusters, deployments = list(snapshot.clusters), list(snapshot.deployments)
    random.shuffle(clusters)
    random.shuffle(deployments)
    shuffled = replace(snapshot, clusters=tuple(clusters), deployments=tuple(deployments))
    assert make_plan(shuffled).to_json() == make_plan(snapshot).to_json()


@bounded
@given(snapshots())
def test_a_snapshot_is_unchanged_after_a_round_trip_through_json(snapshot: Snapshot) -> None:
    assert Snapshot.from_json(snapshot.to_json()) == snapshot
