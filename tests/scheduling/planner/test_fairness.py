"""Who waits although room could be made, told from a state alone."""

from dataclasses import replace

from hypothesis import given, settings

from benchmarks.rules import Result
from scheduling.planner.fairness import Inversion, Packing, inversions, packing
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot
from tests.support.snapshots import snapshots

NOW = 1_000_000
GPU = Cluster(1, Resources(8000, 8192, 2))


def deployment(number: int, priority: int, gpu: int = 1, **more: object) -> Deployment:
    row = Deployment(number, priority, Resources(1000, 1024, gpu), queued_at=NOW - 60)
    return replace(row, **more)  # type: ignore[arg-type]


def running(number: int, priority: int, gpu: int = 1, **more: object) -> Deployment:
    return deployment(number, priority, gpu, cluster=1, placed_at=NOW - 600, **more)


def snapshot(*deployments: Deployment, cluster: Cluster = GPU, **policy: int) -> Snapshot:
    return Snapshot(NOW, Policy(**policy), (cluster,), deployments)  # type: ignore[arg-type]


def found(*args: Deployment, **kwargs: object) -> list[Inversion]:
    return inversions(snapshot(*args, **kwargs), {})  # type: ignore[arg-type]


def test_a_lower_one_that_holds_the_room_is_an_inversion() -> None:
    assert found(running(1, 20, 2), deployment(2, 90)) == [Inversion(2, 1, overlooked=False)]


def test_free_room_that_nobody_got_is_told_apart() -> None:
    assert found(running(1, 20), deployment(2, 90)) == [Inversion(2, 1, overlooked=True)]


def test_who_waits_behind_its_equals_or_betters_waits_rightly() -> None:
    assert found(running(1, 90), running(2, 91), deployment(3, 90)) == []


def test_a_lower_one_that_is_too_small_to_help_is_no_inversion() -> None:
    assert found(running(1, 20, 1), running(2, 95, 1), deployment(3, 90, 2)) == []


def test_who_may_not_be_evicted_is_no_inversion() -> None:
    assert found(running(1, 20, 2, preemptible=False), deployment(2, 90)) == []
    assert found(running(1, 60, 2, recent_preemptions=3), deployment(2, 90)) == []
    assert found(running(1, 20, 2), deployment(2, 90), min_run_seconds=3600) == []


def test_a_spared_one_is_not_safe_from_far_above() -> None:
    assert found(running(1, 20, 2, recent_preemptions=3), deployment(2, 90)) != []


def test_a_cordoned_cluster_or_another_one_is_no_option() -> None:
    cordoned = replace(GPU, state=ClusterState.CORDONED)

    assert found(running(1, 20, 2), deployment(2, 90), cluster=cordoned) == []
    assert found(running(1, 20, 2), deployment(2, 90, requested_cluster=7)) == []


def test_room_that_is_held_for_another_counts_as_taken() -> None:
    state = snapshot(running(1, 20, 1), deployment(2, 90), deployment(3, 90, 2))

    assert inversions(state, {1: 3}) == [Inversion(3, 1, overlooked=False)]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(snapshots())
def test_the_planner_leaves_none_behind(state: Snapshot) -> None:
    settled = Result(state, make_plan(state)).carried_out()
    holders = {
        hold.detail["reservation"]["cluster"]: hold.deployment
        for hold in make_plan(settled).wait_reasons
        if hold.detail.get("reservation")
    }

    assert inversions(settled, holders) == []


def test_what_is_packed_is_told_of_the_scarcest_resource() -> None:
    state = snapshot(running(1, 20, 1), deployment(2, 90, 2), deployment(3, 90, 1))

    assert packing(state) == Packing(packed=0.5, packable=1.0)


def test_where_nobody_waits_there_is_nothing_to_pack() -> None:
    assert packing(snapshot(running(1, 20))) is None


def test_what_fits_nowhere_is_not_missed() -> None:
    assert packing(snapshot(running(1, 20), deployment(2, 90, 5))) is None
