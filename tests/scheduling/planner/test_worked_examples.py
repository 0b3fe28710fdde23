"""The worked examples of docs/scheduling.md."""

from scheduling.planner.snapshot import ClusterState
from tests.support.planner_cases import (
    NOW,
    active,
    cluster,
    evicted,
    moved,
    placed,
    plan,
    ready,
    wait_codes,
)

TEN_MINUTES, SIX_HOURS = 600, 6 * 3600
TOO_LONG = 901


def test_an_urgent_deployment_evicts_the_one_with_the_least_lost_work() -> None:
    b = active(2, 20, 4, ran=TEN_MINUTES)
    c = ready(3, 90, 4)

    assert evicted(plan(cluster(1, 8), active(1, 20, 4, ran=SIX_HOURS), b, c)) == {2: 3}
    saved = active(1, 20, 4, ran=SIX_HOURS, checkpoint_at=NOW - 60)
    assert evicted(plan(cluster(1, 8), saved, b, c)) == {1: 3}


def test_an_equal_priority_waits_and_gets_a_reservation_later() -> None:
    running = cluster(1, 8), active(1, 20, 4), active(2, 20, 2)

    assert wait_codes(plan(*running, active(4, 20, 2), ready(3, 20, 4))) == {3: "no_free_capacity"}
    late = plan(*running, ready(3, 20, 4, waited=TOO_LONG), ready(5, 20, 1))
    assert wait_codes(late) == {3: "reserved", 5: "reserved_for_other"}


def test_after_three_evictions_a_deployment_is_spared_from_priorities_up_to_39() -> None:
    d = active(1, 10, 1, recent_preemptions=3)

    assert wait_codes(plan(cluster(1, 1), d, ready(2, 39, 1))) == {2: "no_free_capacity"}
    assert evicted(plan(cluster(1, 1), d, ready(2, 40, 1))) == {1: 2}


def test_small_deployments_pass_a_large_one_until_it_has_waited_too_long() -> None:
    running = [active(number, 50, 1) for number in range(1, 8)]
    small, low = ready(9, 50, 1), ready(10, 40, 1)

    assert placed(plan(cluster(1, 8), *running, ready(8, 50, 8), small)) == {9: 1}
    late = plan(cluster(1, 8), *running, ready(8, 50, 8, waited=TOO_LONG), small, low)
    assert wait_codes(late) == {8: "reserved", 9: "reserved_for_other", 10: "reserved_for_other"}
    assert placed(plan(cluster(1, 8), *running, ready(8, 50, 8, waited=TOO_LONG), low)) == {10: 1}
    assert evicted(plan(cluster(1, 8), ready(8, 50, 8, waited=TOO_LONG), active(10, 40, 1))) == {
        10: 8
    }


def test_a_drain_moves_what_fits_elsewhere_and_queues_the_rest_again() -> None:
    made = plan(
        cluster(1, 4, ClusterState.DRAINING), cluster(2, 2), active(1, 99, 2), active(2, 50, 2)
    )

    assert moved(made) == {1: (1, 2)}
    assert evicted(made) == {2: None}
