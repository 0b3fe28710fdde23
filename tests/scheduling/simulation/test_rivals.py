"""What each rival does where they differ."""

from collections.abc import Sequence

from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot
from scheduling.simulation.rivals import (
    Policy as Decide,
)
from scheduling.simulation.rivals import (
    first_come_first_served,
    kube_preemption,
    kube_within_budget,
    naive_preemption,
    smallest_first,
    strict_priority,
)


def gpus(number: int) -> Resources:
    return Resources(number * 1_000, number * 1_024, number)


def ready(number: int, priority: int, gpu: int, pinned: int | None = None) -> Deployment:
    return Deployment(number, priority, gpus(gpu), number, requested_cluster=pinned)


def active(number: int, priority: int, gpu: int, recent_preemptions: int = 0) -> Deployment:
    return Deployment(
        number,
        priority,
        gpus(gpu),
        0,
        cluster=1,
        placed_at=number,
        recent_preemptions=recent_preemptions,
    )


def decided(
    decide: Decide, rows: Sequence[Deployment], *clusters: Cluster
) -> tuple[dict[int, int], set[int]]:
    plan = decide(Snapshot(100, Policy(), clusters or (Cluster(1, gpus(4)),), tuple(rows)))
    placed = {row.deployment: row.cluster for row in plan.placements}
    return placed, {row.deployment for row in plan.evictions}


def test_only_first_come_first_served_lets_the_head_of_the_queue_block() -> None:
    rows = active(1, 0, 1), ready(2, 1, 4), ready(3, 0, 2), ready(4, 2, 1)
    assert decided(first_come_first_served, rows) == ({}, set())
    assert decided(strict_priority, rows) == ({3: 1, 4: 1}, set())


def test_smallest_first_looks_at_no_priority() -> None:
    assert decided(smallest_first, [ready(1, 9, 4), ready(2, 0, 1)]) == ({2: 1}, set())


def test_kube_puts_back_whom_the_naive_one_evicts_for_nothing() -> None:
    rows = active(1, 0, 1), active(2, 1, 3), ready(3, 2, 3)
    assert decided(naive_preemption, rows) == ({3: 1}, {1, 2})
    assert decided(kube_preemption, rows) == ({3: 1}, {2})


def test_within_a_budget_nobody_is_evicted_once_more() -> None:
    rows = active(1, 0, 4, recent_preemptions=3), ready(2, 1, 4)
    assert decided(kube_preemption, rows) == ({2: 1}, {1})
    assert decided(kube_within_budget, rows) == ({}, set())


def test_rivals_respect_the_requested_cluster_and_what_is_closed() -> None:
    closed = Cluster(2, gpus(4), ClusterState.CORDONED)
    rows = ready(1, 0, 1, pinned=2), ready(2, 0, 1, pinned=1), ready(3, 0, 4)
    assert decided(strict_priority, rows, Cluster(1, gpus(4)), closed) == ({2: 1}, set())
