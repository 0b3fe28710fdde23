"""What reservations are for, and how much capacity they keep idle."""

from collections.abc import Iterator

import pytest

from benchmarks.rules import Result
from benchmarks.worlds import worlds
from scheduling.planner import shortlist
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan, Stated, WaitReason
from scheduling.planner.policy import Policy
from scheduling.planner.requirements import requirements
from scheduling.planner.reserved import holders, idle, idle_after, idle_share
from scheduling.planner.resources import Resources
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot
from tests.support.planner_cases import NOW, active, cluster, ready
from tests.support.snapshots import large

RESERVED = WaitReason(
    9, Stated("reserved", "", {"reservation": {"cluster": 1, "node": 1, "until": None}})
)
PLAN = Plan(wait_reasons=(WaitReason(5, Stated("no_free_capacity", "")), RESERVED))


def share(*rows: Cluster | Deployment, plan: Plan = PLAN) -> float:
    clusters = [row for row in rows if isinstance(row, Cluster)]
    deployments = [row for row in rows if isinstance(row, Deployment)]
    waiting = {d.id: d for d in deployments if d.cluster is None}
    return idle_share(clusters, plan, waiting, [d for d in deployments if d.cluster is not None])


def test_the_holder_of_a_reservation_is_found_by_its_place() -> None:
    assert holders(PLAN) == {(1, 1): 9}


def test_free_capacity_is_idle_if_another_deployment_would_fit_there() -> None:
    rows = cluster(1, 8), cluster(2, 2), active(1, 5, 5), ready(9, 5, 4)
    assert share(*rows, ready(3, 5, 3)) == pytest.approx(3 / 10)
    assert share(*rows, ready(3, 5, 4)) == 0
    assert share(*rows) == 0
    assert share(*rows, ready(3, 5, 3, requested_cluster=2)) == 0


def test_no_more_is_idle_than_the_holder_requests() -> None:
    rows = cluster(1, 8), cluster(2, 2), active(1, 5, 2), ready(3, 5, 1)
    assert share(*rows, ready(9, 5, 4, requested_cluster=1)) == pytest.approx(4 / 10)


def test_nothing_is_idle_without_a_reservation() -> None:
    rows = cluster(1, 8), active(1, 5, 5), ready(9, 5, 4), ready(3, 5, 3)
    assert share(*rows, plan=Plan()) == 0


def planned(clusters: tuple[Cluster, ...], *deployments: Deployment) -> dict[int, Resources]:
    """Plan, and return what is idle after the plan, by cluster."""
    snapshot = Snapshot(NOW, Policy(), clusters, deployments)
    return idle_after(snapshot, make_plan(snapshot), Backlog.of(deployments))


def test_what_is_idle_is_measured_after_the_plan() -> None:
    """A GPU comes with 4 cores; of equal shares the first dimension counts."""
    clusters = cluster(1, 8), cluster(2, 2)
    rows = active(1, 5, 4), ready(2, 5, 8, waited=1_000), ready(3, 5, 2)
    assert planned(clusters, *rows) == {}
    assert planned(clusters, *rows, ready(4, 5, 3)) == {1: Resources(16_000, 0, 0)}
    small, higher = ready(4, 5, 1, requested_cluster=1), ready(5, 9, 3)
    assert planned(clusters, *rows, small, higher) == {1: Resources(4_000, 0, 0)}


def test_only_the_dimension_counts_of_which_the_holder_requests_most() -> None:
    clusters = (Cluster(1, Resources(8_000, 8_192, 8)),)
    running = Deployment(1, 5, Resources(1_000, 1_024, 6), NOW, cluster=1, placed_at=NOW)
    large = Deployment(2, 5, Resources(8_000, 1_024, 1), NOW - 1_000)
    small = Deployment(3, 5, Resources(1_000, 1_024, 1), NOW)
    assert planned(clusters, running, large, small) == {1: Resources(7_000, 0, 0)}


def test_on_a_cluster_of_several_nodes_only_the_reserved_node_counts() -> None:
    nodes = tuple(Node(n, Resources(16_000, 32_768, 4), labels={"n": str(n)}) for n in (1, 2))
    clusters = (Cluster(1, Resources(32_000, 65_536, 8), nodes=nodes),)
    rows = active(1, 5, 2, node=1), active(2, 5, 4, node=2), ready(3, 5, 4, waited=1_000)
    assert planned(clusters, *rows, ready(4, 5, 1)) == {1: Resources(8_000, 0, 0)}
    elsewhere = ready(4, 5, 1, require=requirements({"n": ["2"]}))
    assert planned(clusters, *rows, elsewhere) == {}


def test_any_other_deployment_that_would_fit_makes_it_idle() -> None:
    """However many larger ones wait; each request is of GPUs, or of CPU alone."""
    rows = cluster(1, 8), active(1, 5, 4), ready(9, 5, 8)
    larger = [ready(n, 5, 5 + n % 3) for n in range(20, 30)]
    wide = Deployment(3, 5, Resources(16_000, 1, 0), NOW)
    assert share(*rows, *larger) == 0
    assert share(*rows, *larger, wide) == pytest.approx(1 / 2)
    assert share(*rows, *larger, ready(3, 5, 4), ready(4, 5, 4)) == pytest.approx(1 / 2)


def test_an_equal_of_the_holder_counts_but_the_holder_does_not() -> None:
    rows = cluster(1, 8), ready(9, 5, 4)
    assert share(*rows) == 0
    assert share(*rows, ready(3, 5, 4)) == pytest.approx(1 / 2)


def with_reservations() -> Iterator[tuple[Snapshot, Plan]]:
    policy = Policy(starvation_seconds=0, preemption_budget=0, budget_override_gap=99)
    small = (snapshot for _, snapshot in worlds(1_500, seed=5))
    for snapshot in (*small, *(large(60, 2, policy, seed, nodes=3) for seed in range(250))):
        plan = make_plan(snapshot)
        if holders(plan):
            yield snapshot, plan


def test_what_is_idle_after_a_plan_is_what_all_deployments_would_make_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few of those that wait are looked at; all of them give the same result."""
    monkeypatch.setattr(shortlist, "LARGE", 0)  # one attempt for each world
    found = 0
    for snapshot, plan in with_reservations():
        gone = {p.deployment for p in plan.placements} | {e.deployment for e in plan.evictions}
        after = Result(snapshot, plan).carried_out().deployments
        ready = {d.id: d for d in after if d.cluster is None and d.id not in gone}
        whole = idle(snapshot.clusters, plan, ready, [d for d in after if d.cluster is not None])
        assert idle_after(snapshot, plan, Backlog.of(snapshot.deployments)) == whole
        found += bool(whole)
    assert found > 20
