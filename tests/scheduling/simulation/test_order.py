from dataclasses import replace

from scheduling.planner.plan import Eviction, Move, Placement, Plan, Stated, WaitReason
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot
from scheduling.simulation.order import starts_out_of_order
from tests.support.planner_cases import NOW, active, cluster, ready


def start(number: int, on: int = 1) -> Placement:
    return Placement(number, on, on, "placed", "")


def count(plan: Plan, *rows: Cluster | Deployment) -> int:
    clusters = tuple(row for row in rows if isinstance(row, Cluster))
    deployments = tuple(row for row in rows if isinstance(row, Deployment))
    return starts_out_of_order(Snapshot(NOW, Policy(), clusters, deployments), plan)


def test_a_start_in_place_of_a_higher_one_that_fits_is_out_of_order() -> None:
    rows = cluster(1, 4), active(1, 5, 2), ready(2, 5, 2), ready(3, 4, 1), ready(4, 4, 1)
    assert count(Plan((start(3), start(4))), *rows) == 2
    assert count(Plan((start(2),)), *rows) == 0


def test_a_start_beside_a_higher_one_that_does_not_fit_is_in_order() -> None:
    rows = cluster(1, 4), active(1, 3, 2), ready(3, 4, 1)
    assert count(Plan((start(3),)), *rows, ready(2, 5, 3)) == 0
    assert count(Plan((start(3),)), *rows, ready(2, 5, 2, requested_cluster=7)) == 0
    assert count(Plan((start(3),)), *rows, ready(2, 5, 2, suspended_until=NOW + 1)) == 0


def test_a_move_counts_and_the_place_that_it_leaves_is_free() -> None:
    rows = cluster(1, 4), cluster(2, 4), active(1, 4, 4, on=1), ready(2, 5, 4)
    assert count(Plan((), (), (Move(1, 1, 1, 2, 2, 2, "moved", ""),)), *rows) == 1
    evicted = Plan((), (Eviction(1, 1, 1, 2, False, "preempted", ""),))
    assert count(evicted, *rows) == 0


def test_a_start_that_ends_before_the_holder_of_a_reservation_can_start_is_in_order() -> None:
    running = active(1, 5, 2, ran=100, max_runtime_s=700)
    rows = cluster(1, 4), running, ready(2, 5, 4), ready(3, 5, 1, max_runtime_s=601)
    detail = {"reservation": {"cluster": 1, "node": 1, "until": NOW + 600}}
    made = Plan((start(4),), wait_reasons=(WaitReason(2, Stated("reserved", "", detail)),))
    assert count(made, *rows, ready(4, 4, 1, max_runtime_s=600)) == 0
    assert count(made, *rows, ready(4, 4, 1, max_runtime_s=601)) == 1


def test_a_start_that_leaves_a_reservation_all_that_it_needs_is_in_order() -> None:
    small = ready(4, 4, 1)
    beside = replace(small, request=replace(small.request, gpu=0))
    for lower, expected in ((small, 1), (beside, 0)):
        detail = {"reservation": {"cluster": 1, "node": 1, "until": None}}
        made = Plan((start(4),), wait_reasons=(WaitReason(2, Stated("reserved", "", detail)),))
        big = replace(ready(2, 5, 4), request=replace(ready(2, 5, 4).request, cpu_milli=4_000))
        rows = cluster(1, 4), active(1, 5, 1), big, ready(3, 5, 1)
        roomy = replace(rows[0], capacity=replace(rows[0].capacity, ram_mib=10**6))
        assert count(made, roomy, *rows[1:], lower) == expected
