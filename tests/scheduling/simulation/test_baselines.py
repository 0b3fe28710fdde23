"""Where the baselines differ."""

from collections.abc import Sequence

from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, ClusterState, Deployment, Snapshot
from scheduling.simulation.baselines import (
    FIXED,
    POLICIES,
    first_come_first_served,
    kube_preemption,
    kube_within_budget,
    naive_preemption,
    smallest_first,
    strict_priority,
)
from scheduling.simulation.baselines import Policy as Decide
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.trace import Job


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


def test_the_head_of_the_queue_blocks_only_with_first_come_first_served() -> None:
    rows = active(1, 0, 1), ready(2, 1, 4), ready(3, 0, 2), ready(4, 2, 1)
    assert decided(first_come_first_served, rows) == ({}, set())
    assert decided(strict_priority, rows) == ({3: 1, 4: 1}, set())


def test_smallest_first_ignores_priorities() -> None:
    assert decided(smallest_first, [ready(1, 9, 4), ready(2, 0, 1)]) == ({2: 1}, set())


def test_kube_style_preemption_restores_a_needless_victim_and_naive_preemption_does_not() -> None:
    rows = active(1, 0, 1), active(2, 1, 3), ready(3, 2, 3)
    assert decided(naive_preemption, rows) == ({3: 1}, {1, 2})
    assert decided(kube_preemption, rows) == ({3: 1}, {2})


def test_a_deployment_whose_budget_is_spent_is_not_evicted() -> None:
    rows = active(1, 0, 4, recent_preemptions=3), ready(2, 1, 4)
    assert decided(kube_preemption, rows) == ({2: 1}, {1})
    assert decided(kube_within_budget, rows) == ({}, set())


def test_baselines_respect_the_requested_cluster_and_closed_clusters() -> None:
    closed = Cluster(2, gpus(4), ClusterState.CORDONED)
    rows = ready(1, 0, 1, pinned=2), ready(2, 0, 1, pinned=1), ready(3, 0, 4)
    assert decided(strict_priority, rows, Cluster(1, gpus(4)), closed) == ({2: 1}, set())


def test_kube3_evicts_a_job_at_most_three_times() -> None:
    one = Resources(1_000, 1_024, 1)
    low = Job(1, 0, 1_000, one, 0, "ml")
    high = [Job(n, 100 * n, 10, one, 1, "ml") for n in range(2, 8)]
    terms = Policy(backoff_seconds=0, budget_window_seconds=1, preemption_budget=9)
    evictions = {}
    for name in ("kube", "kube3"):
        policy = terms.with_values(FIXED.get(name, {}))
        clusters = (Cluster(1, one),)
        course = replay([low, *high], clusters, POLICIES[name], Terms(policy), lambda _: None)
        evictions[name] = len(course.lives[0].evictions)
    assert evictions == {"kube": 6, "kube3": 3}
