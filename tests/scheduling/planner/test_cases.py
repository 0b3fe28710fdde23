"""The rules of docs/scheduling.md as named cases: each is an example that the page tells."""

from scheduling.planner.snapshot import ClusterState
from tests.support.planner_cases import (
    NOW,
    active,
    cluster,
    evicted,
    held,
    missing,
    moved,
    placed,
    plan,
    ready,
)

# -- 1 capacity, 2 eligibility --


def test_an_exact_fit_is_placed() -> None:
    assert placed(plan(cluster(1, 4), active(1, 5, 3), ready(2, 5, 1))) == {2: 1}


def test_one_more_than_fits_waits_and_learns_what_is_missing() -> None:
    made = plan(cluster(1, 4), active(1, 5, 3), ready(2, 5, 2))
    assert placed(made) == {}
    assert missing(made, 2) == {1: {"cpu_milli": 4_000, "ram_mib": 8_192, "gpu": 1}}


def test_a_request_for_a_cluster_goes_nowhere_else() -> None:
    made = plan(cluster(1, 1), cluster(2, 4), active(1, 5, 1), ready(2, 5, 1, requested_cluster=1))
    assert placed(made) == {}
    assert held(made) == {2: "no_free_capacity"}


def test_an_impossible_request_evicts_nobody_and_blocks_nobody() -> None:
    made = plan(cluster(1, 4), active(1, 1, 4), ready(2, 9, 5, waited=9_999), ready(3, 5, 1))
    assert held(made) == {2: "exceeds_capacity"}
    assert placed(made) == {3: 1}


def test_a_cordoned_cluster_keeps_what_it_has_and_takes_nobody() -> None:
    made = plan(cluster(1, 4, ClusterState.CORDONED), active(1, 1, 1), ready(2, 9, 1))
    assert made.evictions == ()
    assert held(made) == {2: "cluster_cordoned"}


def test_a_requested_cluster_that_is_gone_is_named() -> None:
    made = plan(cluster(1, 4), ready(1, 5, 1, requested_cluster=7))
    assert held(made) == {1: "requested_cluster_gone"}


def test_a_draining_cluster_gives_up_all_and_moves_whom_it_can() -> None:
    made = plan(
        cluster(1, 4, ClusterState.DRAINING),
        cluster(2, 2),
        active(1, 5, 2, preemptible=False),
        active(2, 1, 2),
    )
    assert moved(made) == {1: (1, 2)}
    assert evicted(made) == {2: None}


# -- 3 only up, 4 no waiting without a cause --


def test_a_higher_one_takes_the_room_of_a_lower_one() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 2, 2))
    assert placed(made) == {2: 1}
    assert evicted(made) == {1: 2}


def test_an_equal_one_does_not() -> None:
    made = plan(cluster(1, 2), active(1, 2, 2), ready(2, 2, 2))
    assert made.changes_nothing


def test_nobody_leaves_when_even_all_victims_together_are_not_enough() -> None:
    made = plan(cluster(1, 4), active(1, 9, 2), active(2, 1, 2), ready(3, 5, 3))
    assert made.changes_nothing


def test_a_higher_victim_is_put_back_when_the_lower_ones_are_enough() -> None:
    made = plan(cluster(1, 4), active(1, 3, 2), active(2, 1, 2), ready(3, 5, 2))
    assert evicted(made) == {2: 3}


def test_a_low_one_is_not_spared_at_the_expense_of_a_higher_one() -> None:
    """One victim of level 3 would be enough, but three of level 1 do as well."""
    lower = [active(number, 1, 1) for number in (2, 3, 4)]
    made = plan(cluster(1, 6), active(1, 3, 3), *lower, ready(5, 5, 3))
    assert evicted(made) == {2: 5, 3: 5, 4: 5}


# -- 5 order, 7 as many as possible --


def test_the_higher_level_goes_first_whatever_it_costs_in_number() -> None:
    made = plan(cluster(1, 2), ready(1, 1, 1), ready(2, 1, 1), ready(3, 2, 2))
    assert placed(made) == {3: 1}


def test_within_a_level_as_many_as_possible_run() -> None:
    made = plan(cluster(1, 4), ready(1, 5, 4, waited=90), *(ready(n, 5, 2) for n in (2, 3)))
    assert placed(made) == {2: 1, 3: 1}


def test_first_in_first_out_serves_the_older_one_instead() -> None:
    rows = cluster(1, 4), ready(1, 5, 4, waited=90), ready(2, 5, 2), ready(3, 5, 2)
    assert placed(plan(*rows, order="fifo")) == {1: 1}


def test_of_two_alike_the_one_that_waits_longer_runs() -> None:
    assert placed(plan(cluster(1, 1), ready(1, 5, 1), ready(2, 5, 1, waited=20))) == {2: 1}


def test_of_two_that_wait_equally_long_the_lower_id_runs() -> None:
    assert placed(plan(cluster(1, 1), ready(2, 5, 1), ready(1, 5, 1))) == {1: 1}


# -- 6 free room first, 8 least harm --


def test_free_room_elsewhere_spares_the_victim() -> None:
    made = plan(cluster(1, 2), cluster(2, 2), active(1, 1, 2, on=1), ready(2, 9, 2))
    assert placed(made) == {2: 2}


def test_a_victim_that_fits_elsewhere_is_moved() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 1), active(1, 1, 1, on=1), ready(2, 9, 2, requested_cluster=1)
    )
    assert moved(made) == {1: (1, 2)}
    assert evicted(made) == {}


def test_the_victims_highest_priority_is_lowest() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 2), active(1, 2, 2, on=1), active(2, 1, 2, on=2), ready(3, 5, 2)
    )
    assert evicted(made) == {2: 3}


def test_one_victim_is_better_than_two() -> None:
    made = plan(
        cluster(1, 2), cluster(2, 2), *(active(n, 1, 1, on=1) for n in (1, 2)),
        active(3, 1, 2, on=2, ran=9_000), ready(4, 5, 2),
    )  # fmt: skip
    assert evicted(made) == {3: 4}


def test_of_equals_the_most_recently_started_goes() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1, ran=50), active(2, 1, 1, ran=500), ready(3, 5, 1))
    assert evicted(made) == {1: 3}


def test_work_saved_by_a_checkpoint_is_not_lost() -> None:
    saved = active(2, 1, 1, ran=500, checkpoint_at=NOW - 5)
    made = plan(cluster(1, 2), active(1, 1, 1, ran=50), saved, ready(3, 5, 1))
    assert evicted(made) == {2: 3}


def test_a_small_choice_of_victims_is_proved_minimal() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1), active(2, 1, 1), ready(3, 5, 1))
    assert [e.proved_minimal for e in made.evictions] == [True]


def test_what_runs_since_the_beginning_of_time_has_most_to_lose() -> None:
    running = active(1, 1, 2, ran=NOW), active(2, 1, 2, ran=500)
    made = plan(cluster(1, 4), *running, ready(3, 5, 2))
    assert [e.deployment for e in made.evictions] == [2]


# -- 9 no starvation --


def test_one_that_starves_goes_before_smaller_ones_of_its_level() -> None:
    rows = cluster(1, 4), ready(1, 5, 3, waited=1_000), ready(2, 5, 2), ready(3, 5, 2)
    assert placed(plan(*rows)) == {1: 1}


def test_one_that_was_evicted_begins_to_wait_anew() -> None:
    evicted = ready(1, 5, 3, waited=90_000, ready_since=NOW - 900)
    assert placed(plan(cluster(1, 4), evicted, ready(2, 5, 2), ready(3, 5, 2))) == {2: 1, 3: 1}
    starving = ready(1, 5, 3, waited=90_000, ready_since=NOW - 901)
    assert placed(plan(cluster(1, 4), starving, ready(2, 5, 2), ready(3, 5, 2))) == {1: 1}


def test_room_is_held_for_one_that_starves() -> None:
    made = plan(cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 5, 1))
    assert placed(made) == {}
    assert held(made) == {2: "reserved", 3: "reserved_for_other"}


def test_one_that_ends_in_time_may_use_held_room() -> None:
    made = plan(
        cluster(1, 4),
        active(1, 5, 2, ran=100, max_runtime_s=700),
        ready(2, 5, 4, waited=1_000),
        ready(3, 5, 1, max_runtime_s=600),
        ready(4, 5, 1, max_runtime_s=601),
    )
    assert placed(made) == {3: 1}


def test_a_reservation_says_until_when() -> None:
    running = active(1, 5, 2, ran=100, max_runtime_s=700)
    made = plan(cluster(1, 4), running, ready(2, 5, 4, waited=1_000))
    assert made.wait_reasons[0].detail["reservation"] == {"cluster": 1, "until": NOW + 600}


def test_a_higher_one_takes_held_room() -> None:
    made = plan(cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 6, 1))
    assert placed(made) == {3: 1}


def test_a_lower_one_may_use_held_room_unless_the_policy_forbids_it() -> None:
    rows = cluster(1, 4), active(1, 5, 2), ready(2, 5, 4, waited=1_000), ready(3, 4, 1)
    assert placed(plan(*rows)) == {3: 1}
    assert placed(plan(*rows, backfill="ending")) == {}


def test_only_one_cluster_is_held_for_one() -> None:
    made = plan(
        cluster(1, 4), cluster(2, 4), active(1, 5, 2, on=1), active(2, 5, 3, on=2),
        ready(3, 5, 4, waited=1_000), ready(4, 5, 1),
    )  # fmt: skip
    assert placed(made) == {4: 2}


# -- 10 no thrash --


def test_one_that_is_not_preemptible_stays() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2, preemptible=False), ready(2, 9, 1))
    assert made.changes_nothing


def test_one_that_has_just_started_stays_for_its_minimum_run_time() -> None:
    rows = cluster(1, 2), active(1, 1, 2, ran=59), ready(2, 9, 2)
    assert plan(*rows, min_run_seconds=60).changes_nothing
    assert evicted(plan(*rows, min_run_seconds=59)) == {1: 2}


def test_a_spent_budget_protects_from_all_but_a_priority_far_above() -> None:
    rows = cluster(1, 2), active(1, 1, 2, recent_preemptions=3)
    assert plan(*rows, ready(2, 50, 2)).changes_nothing
    assert evicted(plan(*rows, ready(2, 51, 2))) == {1: 2}


def test_a_protected_lower_one_does_not_protect_another() -> None:
    made = plan(cluster(1, 2), active(1, 1, 1, preemptible=False), active(2, 3, 1), ready(3, 5, 1))
    assert evicted(made) == {2: 3}


def test_none_waits_for_a_protected_one_that_leaves_in_favour_of_an_equal() -> None:
    """Priority 9 needs the place of 1 or 2. If 1 left, then 4 could evict 2, and waited for 1."""
    made = plan(
        cluster(1, 4), active(1, 2, 1, ran=10, recent_preemptions=3), active(2, 2, 2, ran=1_000),
        ready(3, 9, 2), ready(4, 3, 2),
        budget_override_gap=5,
    )  # fmt: skip
    assert (evicted(made), placed(made)) == ({2: 3}, {3: 1})


def test_one_that_is_set_aside_takes_what_all_others_leave_and_evicts_nobody() -> None:
    rows = cluster(1, 2), active(1, 1, 1), ready(2, 1, 1), ready(3, 9, 1, suspended_until=NOW + 1)
    made = plan(*rows)
    assert placed(made) == {2: 1}
    assert [(hold.deployment, hold.code) for hold in made.wait_reasons] == [
        (3, "preemption_suspended")
    ]
    assert placed(plan(*rows[:2], rows[3])) == {3: 1}


def test_one_whose_time_aside_is_over_competes_as_ever() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, suspended_until=NOW))
    assert evicted(made) == {1: 2}


def test_preemption_is_suspended_for_one_whose_victim_would_leave_a_second_time() -> None:
    rows = cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, past_victims=(5, 1))
    made = plan(*rows, ready(3, 5, 1))
    assert [(s.deployment, s.until, s.code) for s in made.suspensions] == [
        (2, NOW + 3_600, "preemption_suspended")
    ]
    assert "deployment 1 would be evicted for it a second time" in made.suspensions[0].reason
    assert (evicted(made), placed(made), held(made)) == (
        {1: 3},
        {3: 1},
        {2: "preemption_suspended"},
    )
    assert plan(*rows, suspension_seconds=60).suspensions[0].until == NOW + 60


def test_preemption_is_suspended_for_one_that_preempted_and_never_started() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, preempted_in_vain=True))
    assert (evicted(made), held(made)) == ({}, {2: "preemption_suspended"})
    assert "it never started" in made.suspensions[0].reason


def test_one_with_a_past_may_take_what_is_free_or_another_victim() -> None:
    assert placed(plan(cluster(1, 2), ready(2, 9, 2, preempted_in_vain=True))) == {2: 1}
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 9, 2, past_victims=(5,)))
    assert (evicted(made), made.suspensions) == ({1: 2}, ())


# -- 12 explained --


def test_every_decision_says_why_with_its_numbers() -> None:
    made = plan(cluster(1, 2), active(1, 1, 2), ready(2, 2, 2), ready(3, 1, 1))
    assert made.placements[0].reason == (
        "On cluster 1: needs 8 CPU, 16 GiB RAM, 2 GPU, preempts 1 deployment"
        " of lower priority than 2."
    )
    assert "deployment 2 of priority 2" in made.evictions[0].reason
    assert "lacks 4 CPU, 8 GiB RAM, 1 GPU" in made.wait_reasons[0].reason


def test_a_reason_does_not_change_while_nothing_else_does() -> None:
    rows = cluster(1, 2), active(1, 5, 2)
    first, later = (plan(*rows, ready(2, 5, 1, waited=waited)) for waited in (10, 500))
    assert first.wait_reasons[0].reason == later.wait_reasons[0].reason
