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
