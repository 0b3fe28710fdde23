"""Until a plan's validity ends, planning the same rows again gives the same plan."""

from dataclasses import replace
from random import Random

from benchmarks.worlds import worlds
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot
from scheduling.planner.validity import valid_until

_WORLDS = 600


def validity(snapshot: Snapshot) -> int:
    return valid_until(snapshot, make_plan(snapshot), Backlog.of(snapshot.deployments))


def test_a_plan_is_the_same_until_its_validity_ends() -> None:
    random = Random(1)
    compared = 0
    for number, snapshot in worlds(_WORLDS, seed=7):
        plan = make_plan(snapshot)
        until = validity(snapshot)
        for now in {until - 1, random.randint(snapshot.now, max(until - 1, snapshot.now))}:
            if now > snapshot.now:
                later = make_plan(replace(snapshot, now=now))
                assert later == plan, f"world {number} at {now}"
                assert list(later.served) == list(plan.served), f"world {number} at {now}"
                compared += 1
    assert compared >= 100


def test_it_ends_when_the_next_deployment_becomes_starved() -> None:
    size = Resources(1000, 1024, 0)
    active = Deployment(1, 50, size, 0, cluster=1, placed_at=999_000)
    waiting = Deployment(2, 50, size, 1_000_700)
    snapshot = Snapshot(1_000_801, Policy(), (Cluster(1, size),), (active, waiting))

    until = validity(snapshot)

    assert until == 1_000_700 + Policy().starvation_seconds + 1


def test_a_plan_that_changes_something_is_valid_for_the_present_second() -> None:
    size = Resources(1000, 1024, 0)
    snapshot = Snapshot(1_000_000, Policy(), (Cluster(1, size),), (Deployment(1, 50, size, 0),))

    assert validity(snapshot) == 1_000_000


def test_reservations_end_it_when_a_deployment_becomes_too_long_for_them() -> None:
    """Capacity is free from 1,001,000 on at the latest, for the one whose turn it is."""
    whole, half = Resources(2000, 2048, 0), Resources(1000, 1024, 0)
    active = Deployment(1, 50, half, 0, cluster=1, placed_at=1_000_000, max_runtime_s=1_000)
    starved = Deployment(2, 50, whole, 990_000)
    too_long = Deployment(3, 50, whole, 1_000_050, max_runtime_s=1_200, preemptible=False)
    small = Deployment(4, 50, half, 1_000_050, preemptible=False)
    policy = Policy(reservation_percent=100)
    rows = (active, starved, too_long, small)
    snapshot = Snapshot(1_000_100, policy, (Cluster(1, whole),), rows)

    plan = make_plan(snapshot)

    assert [wait.code for wait in plan.wait_reasons] == [
        "reserved", "reserved_for_other", "reserved_for_other",
    ]  # fmt: skip
    assert validity(snapshot) > snapshot.now + 1
    in_time = replace(small, max_runtime_s=850)
    assert validity(replace(snapshot, deployments=(*rows[:3], in_time))) == 1_000_100
