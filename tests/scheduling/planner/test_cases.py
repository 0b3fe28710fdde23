"""The examples of the rules in docs/scheduling.md."""

from dataclasses import replace
from typing import Any

import pytest

from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment
from tests.support.planner_cases import (
    NOW,
    active,
    cluster,
    evicted,
    missing,
    moved,
    placed,
    plan,
    ready,
    wait_codes,
)

# -- 1 capacity, 2 eligibility --


def test_an_exact_fit_is_placed() -> None:
    assert placed(plan(cluster(1, 4), active(1, 5, 3), ready(2, 5, 1))) == {2: 1}


def test_a_request_that_does_not_fit_waits_and_lists_what_is_missing() -> None:
    made = plan(cluster(1, 4), active(1, 5, 3), ready(2, 5, 2))
    assert placed(made) == {}
    assert missing(made, 2) == {1: {"cpu_milli": 4_000, "ram_mib": 8_192, "gpu": 1}}


def test_a_requested_cluster_is_the_only_option() -> None:
    made = plan(cluster(1, 1), cluster(2, 4), active(1, 5, 1), ready(2, 5, 1, requested_cluster=1))
    assert placed(made) == {}
    assert wait_codes(made) == {2: "no_free_capacity"}


def test_a_request_that_fits_no_cluster_evicts_and_blocks_nothing() -> None:
    made = plan(cluster(1, 4), active(1, 1, 4), ready(2, 9, 5, waited=9_999), ready(3, 5, 1))
    assert wait_codes(made) == {2: "exceeds_capacity"}
    assert placed(made) == {3: 1}


def test_a_cordoned_cluster_keeps_its_deployments_and_takes_no_others() -> None:
    made = plan(cluster(1, 4, ClusterState.CORDONED), active(1, 1, 1), ready(2, 9, 1))
    assert made.evictions == ()
    assert wait_codes(made) == {2: "cluster_cordoned"}


def test_a_requested_cluster_that_does_not_exist_is_the_wait_reason() -> None:
    made = plan(cluster(1, 4), ready(1, 5, 1, requested_cluster=7))
    assert wait_codes(made) == {1: "requested_cluster_gone"}


def test_a_drain_moves_what_fits_elsewhere_and_evicts_the_rest() -> None:
    made = plan(
        cluster(1, 4, ClusterState.DRAINING),
        cluster(2, 2),
        active(1, 5, 2, preemptible=False),
        active(2, 1, 2),
    )
    assert moved(made) == {1: (1, 2)}
    assert evicted(made) == {2: None}


# -- 3 only upwards, 4 no waiting without a cause --


def test_a_higher_priority_evicts_a_lower_one() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 2, 2))
    assert placed(made) == {2: 1}
    assert evicted(made) == {1: 2}


def test_an_equal_priority_evicts_nothing() -> None:
    made = plan(cluster(1, 2), active(1, 2, 2), ready(2, 2, 2))
    assert made.changes_nothing


def test_nothing_is_evicted_if_all_possible_victims_together_are_not_enough() -> None:
    made = plan(cluster(1, 4), active(1, 9, 2), active(2, 1, 2), ready(3, 5, 3))
    assert made.changes_nothing


def test_a_higher_victim_is_kept_if_the_lower_ones_are_enough() -> None:
    made = plan(cluster(1, 4), active(1, 3, 2), active(2, 1, 2), ready(3, 5, 2))
    assert evicted(made) == {2: 3}


def test_a_low_priority_is_not_spared_at_the_expense_of_a_higher_one() -> None:
    """One victim of priority 3 would be enough, but so are three of priority 1."""
    lower = [active(number, 1, 1) for number in (2, 3, 4)]
    made = plan(cluster(1, 6), active(1, 3, 3), *lower, ready(5, 5, 3))
    assert evicted(made) == {2: 5, 3: 5, 4: 5}


def test_a_spared_deployment_that_stays_does_not_shield_a_higher_one() -> None:
    """3 fits next to 4 alone, but 2 stays as well. Evicting 1 instead would lose more work."""
    made = plan(
        cluster(1, 8), active(1, 5, 7, on=1),
        cluster(2, 8), active(2, 1, 3, on=2, preemptible=False), active(3, 5, 4, on=2),
        ready(4, 9, 3),
    )  # fmt: skip
    assert (placed(made), evicted(made)) == ({4: 2}, {3: 4})


# -- 5 order, 7 as many as possible --


def test_the_higher_level_goes_first_even_if_fewer_deployments_run() -> None:
    made = plan(cluster(1, 2), ready(1, 1, 1), ready(2, 1, 1), ready(3, 2, 2))
    assert placed(made) == {3: 1}


def test_within_a_level_as_many_as_possible_run() -> None:
    made = plan(cluster(1, 4), ready(1, 5, 4, waited=90), *(ready(n, 5, 2) for n in (2, 3)))
    assert placed(made) == {2: 1, 3: 1}


def test_with_fifo_the_longest_waiting_runs_first() -> None:
    rows = cluster(1, 4), ready(1, 5, 4, waited=90), ready(2, 5, 2), ready(3, 5, 2)
    assert placed(plan(*rows, order="fifo")) == {1: 1}


def test_of_two_equal_requests_the_longer_waiting_runs() -> None:
    assert placed(plan(cluster(1, 1), ready(1, 5, 1), ready(2, 5, 1, waited=20))) == {2: 1}


def test_of_two_that_have_waited_equally_long_the_lower_id_runs() -> None:
    assert placed(plan(cluster(1, 1), ready(2, 5, 1), ready(1, 5, 1))) == {1: 1}


def test_an_exchange_does_not_let_an_equal_request_overtake() -> None:
    """4 and 5 are equal, and only one of them runs when the clusters are packed well."""
    made = plan(
        cluster(1, 6), cluster(2, 4), cluster(3, 4),
        active(1, 30, 5, on=1), active(2, 1, 2, on=2),
        ready(3, 30, 2), ready(4, 30, 3, waited=800), ready(5, 30, 3), ready(6, 30, 1),
        ready(7, 1, 2, waited=1_000), ready(8, 1, 1),
    )  # fmt: skip
    assert placed(made).keys() == {3, 4, 6, 7, 8}


def test_two_deployments_start_where_they_evict_a_large_one_if_more_run_then() -> None:
    """If 3 or 4 starts on cluster 1, only one of 5 and 6 fits there."""
    made = plan(
        cluster(1, 6), cluster(2, 10), active(1, 5, 2, on=2), active(2, 5, 8, on=2),
        ready(3, 9, 2), ready(4, 9, 2), ready(5, 5, 3, requested_cluster=1), ready(6, 5, 3),
    )  # fmt: skip
    assert (placed(made), set(evicted(made))) == ({3: 2, 4: 2, 5: 1, 6: 1}, {2})


# -- 6 free capacity first, 8 least harm --


def test_nothing_is_evicted_if_another_cluster_has_free_capacity() -> None:
    made = plan(cluster(1, 2), cluster(2, 2), active(1, 1, 2, on=1), ready(2, 9, 2))
    assert placed(made) == {2: 2}


def test_a_victim_that_fits_elsewhere_is_moved() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 1), active(1, 1, 1, on=1), ready(2, 9, 2, requested_cluster=1)
    )
    assert moved(made) == {1: (1, 2)}
    assert evicted(made) == {}


def test_a_deployment_goes_where_another_one_has_to_evict_anyway() -> None:
    """4 is placed first, and evicting 2 would lose less work than 1, which 3 needs to evict."""
    made = plan(
        cluster(1, 6), cluster(2, 3),
        active(1, 1, 4, on=1, ran=500), active(2, 1, 3, on=2, ran=10),
        ready(3, 6, 3, requested_cluster=1), ready(4, 6, 3, waited=2_000),
    )  # fmt: skip
    assert (placed(made), evicted(made)) == ({3: 1, 4: 1}, {1: 3})


def test_a_victim_stays_if_the_deployments_that_start_fit_elsewhere_in_any_order() -> None:
    rows = (
        cluster(1, 5), cluster(2, 2), active(1, 3, 2, on=2, ran=10), active(2, 3, 5, on=1),
        ready(3, 20, 2, waited=500), ready(4, 20, 2),
    )  # fmt: skip
    for order in ("most", "fifo"):
        made = plan(*rows, order=order)
        assert (placed(made), evicted(made), moved(made)) == ({3: 1, 4: 1}, {2: 3}, {})


def test_another_victim_of_the_same_priority_is_no_reason_for_a_move() -> None:
    """3 could start on cluster 2, but then 1 would move there from cluster 1, or 2 would."""
    made = plan(
        cluster(1, 7), cluster(2, 6), active(4, 60, 6, on=1), active(5, 1, 1, on=1, ran=60),
        active(6, 60, 3, on=2), active(1, 4, 1, on=2, ran=60), active(2, 4, 1, on=2),
        ready(3, 60, 1, waited=800), ready(7, 40, 2, waited=5_000),
    )  # fmt: skip
    assert (set(placed(made)), len(evicted(made)), moved(made)) == ({3, 7}, 2, {})


def test_the_victim_is_the_one_whose_eviction_avoids_a_move() -> None:
    """If 5 and 6 went to cluster 2, 3 would move to cluster 3. Next to 2, 7 would not fit."""
    rows = {1: (4, 6), 2: (4, 6), 3: (0, 6)}
    made = plan(
        Cluster(1, Resources(0, 10, 0), ClusterState.DRAINING),
        Cluster(2, Resources(8, 18, 0)), Cluster(3, Resources(0, 8, 0)),
        *(Deployment(n, 40, Resources(cpu, ram, 0), 0, cluster=2, placed_at=NOW - 90,
                     preemptible=n > 1) for n, (cpu, ram) in rows.items()),
        Deployment(5, 80, Resources(0, 4, 0), 0, cluster=1, placed_at=NOW - 90),
        Deployment(6, 80, Resources(0, 6, 0), 0, cluster=1, placed_at=NOW - 90),
        Deployment(7, 10, Resources(2, 2, 0), NOW),
    )  # fmt: skip
    assert (placed(made), set(evicted(made)), set(moved(made))) == ({7: 2}, {2}, {5, 6})


def test_a_victim_stays_if_another_start_goes_before_an_evicted_one_of_its_level() -> None:
    """4 is evicted in any case. Next to 3, which starts on cluster 1, 4 would not fit there."""
    rows = {1: (10, 1, 0), 2: (10, 1, 0), 4: (30, 3, 1)}
    homes = {1: 1, 2: 1, 4: 2}
    starts = {3: (30, 1, 1), 5: (40, 1, 0), 6: (40, 3, 1)}
    made = plan(
        Cluster(1, Resources(0, 4, 1)), Cluster(2, Resources(0, 3, 1)),
        *(Deployment(n, priority, Resources(0, ram, gpu), 0, cluster=homes.get(n),
                     placed_at=NOW - 90 if n in homes else None)
          for n, (priority, ram, gpu) in (rows | starts).items()),
    )  # fmt: skip
    assert (placed(made), set(evicted(made)), moved(made)) == ({3: 1, 5: 1, 6: 2}, {4}, {})


def test_with_fifo_a_victim_stays_even_if_another_deployment_starts_then() -> None:
    """If 2 starts on cluster 1, 1 moves to cluster 2, and 6 fits next to it, but 5 does not."""
    made = plan(
        Cluster(1, Resources(9, 9, 0)), Cluster(2, Resources(5, 8, 0)),
        Deployment(1, 30, Resources(3, 3, 0), 0, cluster=1, placed_at=NOW - 90),
        Deployment(2, 55, Resources(1, 3, 0), NOW - 500),
        Deployment(3, 55, Resources(2, 3, 0), NOW - 400),
        Deployment(4, 55, Resources(1, 3, 0), NOW, requested_cluster=1),
        Deployment(5, 30, Resources(3, 3, 0), NOW - 400),
        Deployment(6, 30, Resources(1, 3, 0), NOW),
        order="fifo",
    )  # fmt: skip
    assert (placed(made), evicted(made), moved(made)) == ({2: 2, 3: 1, 4: 1, 5: 2}, {}, {})


def test_a_start_changes_its_node_only_if_the_other_victims_there_still_leave() -> None:
    """If 7 started on cluster 2, 1 would stay, which 8 may not evict, and 2 would have to leave."""
    spent = {"recent_preemptions": 3}
    made = plan(
        cluster(1, 4), active(1, 30, 1, **spent), active(2, 40, 1), active(3, 55, 1),
        active(4, 60, 1), cluster(2, 3), active(5, 30, 1, on=2, **spent), active(6, 55, 1, on=2),
        ready(7, 60, 1), ready(8, 55, 1), ready(9, 60, 5),
    )  # fmt: skip
    assert (placed(made), evicted(made), moved(made)) == ({7: 1, 8: 2}, {1: 7}, {})


def test_a_victim_stays_if_others_that_leave_in_any_case_leave_enough() -> None:
    """1 evicts nothing and takes what 7 leaves next to 8. It does not fit in what 5 would leave."""
    homes = {2: 1, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1}
    rows = {
        1: (100, 1, 1), 2: (100, 0, 2), 3: (55, 0, 3), 4: (10, 1, 1), 5: (4, 0, 2), 6: (4, 1, 1),
        7: (4, 0, 3), 8: (100, 0, 3), 9: (55, 1, 1), 10: (4, 0, 3),
    }  # fmt: skip
    spared, suspended = {"preemptible": False}, {"suspended_until": NOW + 100}
    made = plan(
        Cluster(1, Resources(2, 9, 0)), Cluster(2, Resources(1, 4, 0)),
        *(Deployment(n, priority, Resources(cpu, ram, 0), NOW - 90, cluster=homes.get(n),
                     placed_at=NOW - (7 if n == 5 else 90) if n in homes else None,
                     **(spared if n in (2, 4) else suspended if n == 1 else {}))
          for n, (priority, cpu, ram) in rows.items()),
    )  # fmt: skip
    assert (placed(made), evicted(made), moved(made)) == ({1: 1, 8: 1, 9: 1}, {6: 9, 7: 8}, {})


def test_the_victim_has_the_lowest_possible_priority() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 2), active(1, 2, 2, on=1), active(2, 1, 2, on=2), ready(3, 5, 2)
    )
    assert evicted(made) == {2: 3}


def test_one_victim_is_preferred_to_two() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 2), *(active(n, 1, 1, on=1) for n in (1, 2)),
        active(3, 1, 2, on=2, ran=9_000), ready(4, 5, 2),
    )  # fmt: skip
    assert evicted(made) == {3: 4}


def test_of_equal_victims_the_most_recently_placed_is_evicted() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1, ran=50), active(2, 1, 1, ran=500), ready(3, 5, 1))
    assert evicted(made) == {1: 3}


def test_work_before_a_checkpoint_does_not_count_as_lost() -> None:
    saved = active(2, 1, 1, ran=500, checkpoint_at=NOW - 5)
    made = plan(cluster(1, 2), active(1, 1, 1, ran=50), saved, ready(3, 5, 1))
    assert evicted(made) == {2: 3}


def test_a_choice_among_few_victims_is_proved_minimal() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1), active(2, 1, 1), ready(3, 5, 1))
    assert [e.proved_minimal for e in made.evictions] == [True]


def test_a_deployment_placed_at_the_epoch_has_the_most_work_to_lose() -> None:
    running = active(1, 1, 2, ran=NOW), active(2, 1, 2, ran=500)
    made = plan(cluster(1, 4), *running, ready(3, 5, 2))
    assert [e.deployment for e in made.evictions] == [2]


# -- 9 no starvation --


def test_during_its_turn_a_deployment_goes_before_smaller_ones_of_its_level() -> None:
    """A turn of a deployment that needs all of the capacity lasts a tenth of 900 seconds."""
    rows = cluster(1, 4), ready(1, 5, 4, waited=1_000), ready(2, 5, 2), ready(3, 5, 2)
    assert placed(plan(*rows, now=NOW + 89)) == {1: 1}
    assert placed(plan(*rows, now=NOW + 90)) == {2: 1, 3: 1}


@pytest.mark.parametrize(
    ("gpu", "waited", "length"),
    [(4, 1_700, 90), (4, 1_900, 180), (2, 1_600, 180), (4, 60_000, 5_760)],
)
def test_turns_are_longer_after_a_longer_wait_and_for_a_smaller_share(
    gpu: int, waited: int, length: int
) -> None:
    rows = cluster(1, 4), active(1, 5, 3 if gpu == 2 else 1), ready(2, 5, gpu, waited=waited)
    during, after = (
        plan(*rows, ready(3, 5, 1, waited=-late), now=NOW + late) for late in (length - 1, length)
    )
    assert wait_codes(during) == {2: "reserved", 3: "reserved_for_other"}
    assert wait_codes(after) == {2: "no_free_capacity"}


def test_of_those_with_similar_waits_only_one_has_turns() -> None:
    rows = cluster(1, 8), active(1, 9, 6), ready(2, 5, 4, waited=1_000), ready(3, 5, 3, waited=999)
    assert wait_codes(plan(*rows)) == {2: "reserved", 3: "reserved_for_other"}
    higher = ready(4, 6, 5, waited=950)
    assert wait_codes(plan(*rows, higher)) == {
        2: "no_free_capacity", 3: "no_free_capacity", 4: "reserved",
    }  # fmt: skip


def test_a_deployment_that_never_fits_does_not_take_the_turns_of_later_ones() -> None:
    rows = (
        cluster(1, 4), cluster(2, 4), active(1, 5, 1, on=1), active(2, 5, 1, on=2),
        ready(3, 5, 4, waited=90_000, requested_cluster=1), ready(4, 5, 4, waited=1_000),
    )  # fmt: skip
    assert wait_codes(plan(*rows)) == {3: "reserved", 4: "reserved"}


def test_a_deployment_that_could_run_nowhere_has_no_turns() -> None:
    rows = cluster(1, 4), active(1, 5, 1), ready(2, 5, 5, waited=1_500)
    assert wait_codes(plan(*rows, ready(3, 5, 4, waited=1_000))) == {
        2: "exceeds_capacity", 3: "reserved",
    }  # fmt: skip


def test_with_a_percentage_of_0_there_are_no_turns() -> None:
    rows = cluster(1, 4), ready(1, 5, 4, waited=1_000), ready(2, 5, 2), ready(3, 5, 2)
    assert placed(plan(*rows, reservation_percent=0)) == {2: 1, 3: 1}


@pytest.mark.parametrize(
    ("left", "codes"),
    [(900, {2: "reserved", 3: "reserved_for_other"}), (1_101, {2: "no_free_capacity"})],
)
def test_outside_a_turn_capacity_is_reserved_if_enough_will_be_free_soon(
    left: int, codes: dict[int, str]
) -> None:
    """Soon is within as many seconds as the deployment has waited, 1,100 here."""
    running = active(1, 5, 2, ran=100, max_runtime_s=200 + left)
    rows = cluster(1, 4), running, ready(2, 5, 4, waited=1_000), ready(3, 5, 1)
    assert wait_codes(plan(*rows, now=NOW + 100)) == codes


def test_a_turn_does_not_end_early_because_its_deployment_gets_a_longer_period() -> None:
    """The turn begins after a wait of 1,750 s, within a period of 900 s."""
    rows = cluster(1, 4), active(1, 5, 1), ready(2, 5, 4, waited=850), ready(3, 5, 1)
    assert wait_codes(plan(*rows, now=NOW + 989)) == {2: "reserved", 3: "reserved_for_other"}
    assert wait_codes(plan(*rows, now=NOW + 990)) == {2: "no_free_capacity"}


def test_a_deployment_that_had_a_reservation_goes_first_after_its_turn() -> None:
    rows = cluster(1, 4), ready(2, 5, 2), ready(3, 5, 2)
    late = ready(1, 5, 4, waited=1_000)
    assert placed(plan(*rows, late, now=NOW + 90)) == {2: 1, 3: 1}
    assert placed(plan(*rows, replace(late, reserved=True), now=NOW + 90)) == {1: 1}
    early = ready(1, 5, 4, waited=800, reserved=True)
    assert placed(plan(*rows, early, now=NOW + 90)) == {2: 1, 3: 1}


def test_no_lower_deployment_uses_reserved_capacity_that_is_refused_to_a_higher_one() -> None:
    rows = cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(4, 4, 1)
    assert placed(plan(*rows)) == {4: 1}
    refused = plan(*rows, ready(3, 5, 1))
    assert wait_codes(refused) == {2: "reserved", 3: "reserved_for_other", 4: "reserved_for_other"}
    assert placed(plan(*rows, ready(3, 5, 3))) == {4: 1}


def test_an_eviction_restarts_the_wait() -> None:
    evicted = ready(1, 5, 3, waited=90_000, ready_since=NOW - 900)
    assert placed(plan(cluster(1, 4), evicted, ready(2, 5, 2), ready(3, 5, 2))) == {2: 1, 3: 1}
    starving = ready(1, 5, 3, waited=90_000, ready_since=NOW - 901)
    assert placed(plan(cluster(1, 4), starving, ready(2, 5, 2), ready(3, 5, 2))) == {1: 1}


def test_capacity_is_reserved_for_a_starved_deployment() -> None:
    made = plan(cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 5, 1))
    assert placed(made) == {}
    assert wait_codes(made) == {2: "reserved", 3: "reserved_for_other"}


def test_a_deployment_that_ends_in_time_may_use_reserved_capacity() -> None:
    made = plan(
        cluster(1, 4),
        active(1, 5, 2, ran=100, max_runtime_s=700),
        ready(2, 5, 4, waited=1_000),
        ready(3, 5, 1, max_runtime_s=600),
        ready(4, 5, 1, max_runtime_s=601),
    )
    assert placed(made) == {3: 1}


def test_a_reservation_states_when_enough_will_be_free() -> None:
    running = active(1, 5, 2, ran=100, max_runtime_s=700)
    made = plan(cluster(1, 4), running, ready(2, 5, 4, waited=1_000))
    assert made.wait_reasons[0].detail["reservation"] == {
        "cluster": 1, "node": 1, "until": NOW + 600,
    }  # fmt: skip


def test_a_higher_priority_ignores_a_reservation() -> None:
    made = plan(cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 6, 1))
    assert placed(made) == {3: 1}


def test_a_lower_priority_may_use_reserved_capacity_unless_the_policy_forbids_it() -> None:
    rows = cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 4, 1)
    assert placed(plan(*rows)) == {3: 1}
    assert placed(plan(*rows, backfill="ending")) == {}


def test_only_one_cluster_is_reserved_for_a_deployment() -> None:
    made = plan(
        cluster(1, 4), cluster(2, 4), active(1, 5, 2, on=1), active(2, 5, 3, on=2),
        ready(3, 5, 4, waited=1_000), ready(4, 5, 1),
    )  # fmt: skip
    assert placed(made) == {4: 2}


# -- 10 no thrashing --


def test_a_deployment_that_is_not_preemptible_stays() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2, preemptible=False), ready(2, 9, 1))
    assert made.changes_nothing


def test_a_deployment_stays_for_the_minimum_run_time() -> None:
    rows = cluster(1, 2), active(1, 1, 2, ran=59), ready(2, 9, 2)
    assert plan(*rows, min_run_seconds=60).changes_nothing
    assert evicted(plan(*rows, min_run_seconds=59)) == {1: 2}


def test_a_spent_budget_protects_from_all_but_a_much_higher_priority() -> None:
    rows = cluster(1, 2), active(1, 1, 2, recent_preemptions=3)
    assert plan(*rows, ready(2, 30, 2)).changes_nothing
    assert evicted(plan(*rows, ready(2, 31, 2))) == {1: 2}


def test_a_protected_low_deployment_does_not_protect_a_higher_one() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1, preemptible=False), active(2, 3, 1), ready(3, 5, 1))
    assert evicted(made) == {2: 3}


def test_a_protected_deployment_that_others_wait_for_is_not_evicted_in_favour_of_an_equal() -> None:
    """3 needs the place of 1 or 2. If 1 lost it, 4 could evict 2 and would wait for nothing."""
    made = plan(
        cluster(1, 4), active(1, 2, 1, ran=10, recent_preemptions=3), active(2, 2, 2, ran=1_000),
        ready(3, 9, 2), ready(4, 3, 2),
        budget_override_gap=5,
    )  # fmt: skip
    assert (evicted(made), placed(made)) == ({2: 3}, {3: 1})


def test_no_deployment_waits_for_a_spared_one_that_a_higher_one_evicts() -> None:
    """Of the victims that 5 may have, 2 has the lowest priority but one and frees enough."""
    running = active(1, 12, 3), active(2, 6, 5, recent_preemptions=3), active(3, 2, 3)
    made = plan(cluster(1, 11), *running, ready(4, 30, 3), ready(5, 80, 5))
    assert (placed(made), evicted(made)) == ({4: 1, 5: 1}, {2: 5, 3: 4})


def test_a_spared_one_makes_way_for_a_deployment_that_a_lower_preemptor_evicts() -> None:
    """5 evicts 2 because 1, of a higher priority, stays. Then 4 evicts 1, and does not wait."""
    running = active(1, 12, 3), active(2, 6, 5, recent_preemptions=3), active(3, 2, 2)
    made = plan(cluster(1, 10), *running, ready(4, 30, 5), ready(5, 80, 5))
    assert (placed(made), evicted(made)) == ({4: 1, 5: 1}, {1: 4, 2: 5, 3: 4})


def test_a_spared_one_returns_if_the_deployment_that_displaced_it_is_evicted() -> None:
    """2 does not fit next to 1 and 4. Then 3 evicts 1 and leaves enough for 2."""
    running = active(1, 12, 6), active(2, 6, 4, recent_preemptions=3)
    made = plan(cluster(1, 10), *running, ready(3, 30, 2), ready(4, 80, 4))
    assert (placed(made), evicted(made)) == ({3: 1, 4: 1}, {1: 4})


def test_of_two_spared_ones_the_higher_one_returns_first() -> None:
    """3 does not fit next to 5 and 2. But 6 evicts 2, and then only one of 3 and 4 fits."""
    running = (
        active(2, 30, 4),
        *(active(n, p, 2, recent_preemptions=3) for n, p in ((3, 10), (4, 2))),
    )
    made = plan(
        cluster(1, 10), active(1, 70, 2, preemptible=False), *running,
        ready(5, 65, 4), ready(6, 55, 2),
    )  # fmt: skip
    assert (set(placed(made)), set(evicted(made))) == ({5, 6}, {2, 4})


def test_two_wait_less_if_a_spared_one_moves_for_a_higher_deployment() -> None:
    """If 3 started on cluster 2, only one of 4 and 5 would run."""
    made = plan(
        Cluster(1, Resources(7, 0, 8)), Cluster(2, Resources(9, 0, 7)),
        Deployment(1, 1, Resources(3, 0, 0), 0, cluster=1, placed_at=NOW, recent_preemptions=3),
        Deployment(2, 20, Resources(3, 0, 3), 0, cluster=1, placed_at=NOW),
        Deployment(6, 95, Resources(0, 0, 3), 0, cluster=2, placed_at=NOW),
        *(Deployment(number, 90 if number == 3 else 30, Resources(3, 0, 3), NOW)
          for number in (3, 4, 5)),
    )  # fmt: skip
    assert (set(placed(made)), moved(made)) == ({3, 4, 5}, {1: (1, 2)})


def test_with_preemption_suspended_a_deployment_evicts_nothing() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 1, suspended_until=NOW + 1))
    assert (made.evictions, made.placements) == ((), ())
    assert wait_codes(made) == {2: "preemption_suspended"}
    assert missing(made, 2) == {1: {"cpu_milli": 4_000, "ram_mib": 8_192, "gpu": 1}}


def test_with_preemption_suspended_a_deployment_takes_free_capacity_before_lower_ones() -> None:
    rows = cluster(1, 2), active(1, 1, 1), ready(2, 5, 1)
    made = plan(*rows, ready(3, 9, 1, suspended_until=NOW + 1))
    assert (placed(made), evicted(made)) == ({2: 1, 3: 1}, {1: 2})
    made = plan(*rows[:2], ready(2, 1, 1), ready(3, 9, 1, suspended_until=NOW + 1))
    assert (placed(made), wait_codes(made)) == ({3: 1}, {2: "no_free_capacity"})


def test_with_preemption_suspended_a_deployment_comes_after_the_others_of_its_level() -> None:
    made = plan(
        cluster(1, 1), ready(1, 9, 1, waited=2_000, suspended_until=NOW + 1), ready(2, 9, 1)
    )
    assert placed(made) == {2: 1}
    assert wait_codes(made) == {1: "preemption_suspended"}


def test_with_preemption_suspended_a_deployment_takes_what_a_victim_leaves() -> None:
    made = plan(
        cluster(1, 4), active(1, 1, 4),
        ready(2, 9, 3), ready(3, 5, 1, suspended_until=NOW + 1), ready(4, 3, 1),
    )  # fmt: skip
    assert (evicted(made), placed(made)) == ({1: 2}, {2: 1, 3: 1})


def test_a_deployment_stays_where_another_one_would_go_before_a_suspended_one() -> None:
    """On cluster 2, 3 runs and 4 waits because of 2. If 2 started elsewhere, 4 went before 3."""
    rows = {
        1: (55, 90, 1, 0, 1), 2: (100, 1_000, 1, 0, 1), 3: (100, 1_000, 3, 3, 0),
        4: (100, 1_000, 3, 2, 2), 5: (55, 10, 3, 1, 0), 6: (55, 5_000, 3, 3, 0),
    }  # fmt: skip
    more: dict[int, dict[str, Any]] = {
        1: {"cluster": 2, "placed_at": NOW - 7},
        2: {"max_runtime_s": 900},
        3: {"requested_cluster": 2, "suspended_until": NOW + 100},
        4: {"requested_cluster": 2},
        5: {"max_runtime_s": 900},
    }
    made = plan(
        Cluster(1, Resources(7, 7, 1)), Cluster(2, Resources(5, 6, 2)),
        Cluster(3, Resources(4, 6, 3)),
        *(Deployment(n, priority, Resources(*request), NOW - waited, **more.get(n, {}))
          for n, (priority, waited, *request) in rows.items()),
    )  # fmt: skip
    assert placed(made)[2] == 2
    assert 4 in wait_codes(made)


def test_a_lower_deployment_may_evict_beside_one_with_preemption_suspended() -> None:
    made = plan(
        cluster(1, 2), active(1, 1, 2),
        ready(2, 9, 2, suspended_until=NOW + 1), ready(3, 5, 2),
    )  # fmt: skip
    assert (evicted(made), wait_codes(made)) == ({1: 3}, {2: "preemption_suspended"})


def test_a_suspended_deployment_uses_reserved_capacity_only_by_its_own_priority() -> None:
    """A higher level ignores the reservation; of a lower one, deployment 2 may evict it later."""
    rows = cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000)
    for priority, is_placed in ((9, True), (5, False), (4, True)):
        made = plan(*rows, ready(3, priority, 1, suspended_until=NOW + 1))
        assert (3 in placed(made)) is is_placed


def test_after_the_suspension_a_deployment_may_preempt_again() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, suspended_until=NOW))
    assert evicted(made) == {1: 2}


def test_preemption_is_suspended_if_the_same_victim_would_be_evicted_again() -> None:
    rows = cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, past_victims=(5, 1))
    made = plan(*rows, ready(3, 5, 1))
    assert [(s.deployment, s.until, s.code) for s in made.suspensions] == [
        (2, NOW + 3_600, "preemption_suspended")
    ]
    assert "deployment 1 would be evicted for it a second time" in made.suspensions[0].reason
    assert (evicted(made), placed(made), wait_codes(made)) == (
        {1: 3},
        {3: 1},
        {2: "preemption_suspended"},
    )
    assert plan(*rows, suspension_seconds=60).suspensions[0].until == NOW + 60


def test_preemption_is_suspended_after_a_preemption_without_a_start() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, preempted_in_vain=True))
    assert (evicted(made), wait_codes(made)) == ({}, {2: "preemption_suspended"})
    assert "it never started" in made.suspensions[0].reason


def test_a_suspension_does_not_let_another_deployment_evict_the_same_victim_again() -> None:
    made = plan(
        cluster(1, 2), active(1, 1, 2),
        ready(2, 9, 2, past_victims=(1,)), ready(3, 8, 2, past_victims=(1,)),
    )  # fmt: skip
    assert (evicted(made), [s.deployment for s in made.suspensions]) == ({}, [2, 3])


def test_after_earlier_preemptions_free_capacity_and_other_victims_are_allowed() -> None:
    assert placed(plan(cluster(1, 2), ready(2, 9, 2, preempted_in_vain=True))) == {2: 1}
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, past_victims=(5,)))
    assert (evicted(made), made.suspensions) == ({1: 2}, ())


# -- 12 explained --


def test_each_of_several_preemptors_is_the_reason_of_the_evictions_that_it_needs() -> None:
    victims = [active(number, 1, 1) for number in range(1, 6)]
    made = plan(cluster(1, 5), *victims, *[ready(number, 5, 1) for number in range(11, 16)])
    assert sorted(evicted(made)) == [1, 2, 3, 4, 5]
    assert sorted(filter(None, evicted(made).values())) == [11, 12, 13, 14, 15]
    assert {p.code for p in made.placements} == {"preempting"}
    assert all("by preempting 1 deployment below" in p.reason for p in made.placements)


def test_a_preemptor_that_fits_into_free_capacity_is_the_reason_of_no_eviction() -> None:
    made = plan(cluster(1, 3), active(1, 1, 2), ready(2, 9, 1), ready(3, 5, 2))
    assert evicted(made) == {1: 3}
    assert [(p.deployment, p.code) for p in made.placements] == [(2, "placed"), (3, "preempting")]


def test_a_victim_is_evicted_for_the_preemptor_that_lacks_what_it_has() -> None:
    """1 has no GPU, 2 has one; 3 lacks a GPU and 4 does not."""
    cpu, gpu = Resources(4_000, 1, 0), Resources(1, 1, 1)
    made = plan(
        Cluster(1, Resources(4_001, 2, 1)),
        Deployment(1, 2, cpu, NOW - 9, cluster=1, placed_at=NOW - 9),
        Deployment(2, 1, gpu, NOW - 9, cluster=1, placed_at=NOW - 9),
        Deployment(3, 9, gpu, NOW), Deployment(4, 8, cpu, NOW),
    )  # fmt: skip
    assert evicted(made) == {1: 4, 2: 3}


def test_a_small_victim_is_not_evicted_for_one_of_many_large_preemptors() -> None:
    """Each preemptor of 2 lacks 2, so that the victim of 1 does not help any of them."""
    large = [active(number, 1, 2) for number in range(2, 22)]
    preemptors = [ready(number, 5, 2) for number in range(30, 50)]
    made = plan(cluster(1, 41), active(1, 1, 1), *large, *preemptors, ready(50, 5, 1))
    assert len(evicted(made)) == 21
    assert evicted(made)[1] == 50
    assert {p.code for p in made.placements} == {"preempting"}


def test_every_decision_has_a_reason_with_its_numbers() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 2, 2), ready(3, 1, 1))
    assert made.placements[0].reason == (
        "Needs 8 CPU, 16 GiB RAM, 2 GPU; placed on cluster 1 by preempting 1 deployment"
        " below priority 2."
    )
    assert made.evictions[0].reason == (
        "Preempted on cluster 1 at priority 1 for deployment 2 of priority 2, which needs 8 CPU,"
        " 16 GiB RAM, 2 GPU."
    )
    assert made.wait_reasons[0].reason == (
        "Needs 4 CPU, 8 GiB RAM, 1 GPU at priority 1. The only cluster that could run it,"
        " cluster 1, is short of 4 CPU, 8 GiB RAM, 1 GPU."
    )


def test_a_wait_reason_stays_the_same_while_nothing_changes() -> None:
    rows = cluster(1, 2), active(1, 5, 2)
    first, later = (plan(*rows, ready(2, 5, 1, waited=waited)) for waited in (10, 500))
    assert first.wait_reasons[0].reason == later.wait_reasons[0].reason
