"""Inversions and packing, derived from a snapshot without a plan."""

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


def test_waiting_for_an_evictable_deployment_is_an_inversion() -> None:
    assert found(running(1, 20, 2), deployment(2, 90)) == [Inversion(2, 1, 1, overlooked=False)]


def test_waiting_despite_free_capacity_is_marked_as_overlooked() -> None:
    assert found(running(1, 20), deployment(2, 90)) == [Inversion(2, 1, 1, overlooked=True)]


def test_waiting_for_equal_or_higher_priorities_is_no_inversion() -> None:
    assert found(running(1, 90), running(2, 91), deployment(3, 90)) == []


def test_waiting_is_no_inversion_if_the_victims_are_too_small() -> None:
    assert found(running(1, 20, 1), running(2, 95, 1), deployment(3, 90, 2)) == []


def test_waiting_for_a_protected_deployment_is_no_inversion() -> None:
    assert found(running(1, 20, 2, preemptible=False), deployment(2, 90)) == []
    assert found(running(1, 61, 2, recent_preemptions=3), deployment(2, 90)) == []
    assert found(running(1, 20, 2), deployment(2, 90), min_run_seconds=3600) == []


def test_waiting_for_a_spared_deployment_is_an_inversion_for_a_much_higher_priority() -> None:
    assert found(running(1, 20, 2, recent_preemptions=3), deployment(2, 90)) != []


def test_an_ineligible_cluster_gives_no_inversion() -> None:
    cordoned = replace(GPU, state=ClusterState.CORDONED)

    assert found(running(1, 20, 2), deployment(2, 90), cluster=cordoned) == []
    assert found(running(1, 20, 2), deployment(2, 90, requested_cluster=7)) == []


def test_capacity_that_is_reserved_for_another_counts_as_allocated() -> None:
    state = snapshot(running(1, 20, 1), deployment(2, 90), deployment(3, 90, 2))

    assert inversions(state, {(1, 1): 3}) == [Inversion(3, 1, 1, overlooked=False)]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(snapshots())
def test_a_plan_leaves_no_inversions(state: Snapshot) -> None:
    settled = Result(state, make_plan(state)).carried_out()
    reserved_for = {
        (found["cluster"], found["node"]): wait.deployment
        for wait in make_plan(settled).wait_reasons
        if (found := wait.detail.get("reservation"))
    }

    assert inversions(settled, reserved_for) == []


def test_packing_is_measured_for_the_scarcest_resource() -> None:
    state = snapshot(running(1, 20, 1), deployment(2, 90, 2), deployment(3, 90, 1))

    assert packing(state) == Packing(packed=0.5, packable=1.0)


def test_packing_is_none_if_no_deployment_waits() -> None:
    assert packing(snapshot(running(1, 20))) is None


def test_a_deployment_that_fits_no_cluster_does_not_count_as_waiting() -> None:
    assert packing(snapshot(running(1, 20), deployment(2, 90, 5))) is None
