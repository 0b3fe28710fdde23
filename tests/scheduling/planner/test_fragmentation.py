"""Among equal plans, free GPUs stay usable for what the snapshot's deployments request."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings

from benchmarks.cases import POLICY, on_nodes
from benchmarks.rules import Result, violations
from scheduling.planner.packed import pack
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.problem import Problem, prepare
from scheduling.planner.requirements import preferences, requirements
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.search import node_choice, search
from scheduling.planner.search.fragmentation import Fragmentation
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot
from tests.support.planner_cases import NOW
from tests.support.snapshots import snapshots

bounded = settings(max_examples=150, deadline=None, derandomize=True, database=None)
LARGE, SMALL, CPU_ONLY = Resources(8, 8, 4), Resources(4, 2, 1), Resources(4, 2, 0)
H100, A100 = {"gpu.model": "h100"}, {"gpu.model": "a100"}


def rack(*capacities: Resources, labels: list[dict[str, str]] | None = None) -> Cluster:
    nodes = tuple(
        Node(n, capacity, f"n{n}", labels[n - 1] if labels else {})
        for n, capacity in enumerate(capacities, start=1)
    )
    return Cluster(1, sum(capacities, NOTHING), nodes=nodes)


def snapshot(cluster: Cluster, *rows: Deployment) -> Snapshot:
    return Snapshot(NOW, POLICY, (cluster,), rows)


def ready(id_: int, request: Resources, priority: int = 1, **more: object) -> Deployment:
    return Deployment(id_, priority, request, NOW - 100 + id_, **more)  # type: ignore[arg-type]


def active(id_: int, request: Resources, node: int, **more: object) -> Deployment:
    return replace(ready(id_, request), cluster=1, node=node, placed_at=NOW - 50, **more)  # type: ignore[arg-type]


def nodes_of(plan: Plan) -> dict[int, int]:
    return {row.deployment: row.node for row in plan.placements}


def problem(*rows: Deployment) -> Problem:
    return prepare(snapshot(rack(Resources(16, 16, 4), Resources(8, 8, 4)), *rows))


@pytest.mark.parametrize(
    ("free", "request_", "growth"),
    [
        # Of 4 + 3 * 1 requested GPUs, the four are for a deployment that no longer fits.
        (Resources(16, 16, 4), SMALL, 3 * 4 - 0),
        # One GPU less that is of no use to the large one.
        (Resources(16, 16, 3), SMALL, 2 * 4 - 3 * 4),
        # The CPU that is left is not enough for any; before, it was for the small ones.
        (Resources(7, 16, 2), CPU_ONLY, 2 * 7 - 2 * 4),
        (Resources(16, 16, 4), LARGE, 0),
        (Resources(16, 16, 0), CPU_ONLY, 0),
    ],
)
def test_fragmentation_counts_the_free_gpus_that_requested_gpus_cannot_use(
    free: Resources, request_: Resources, growth: int
) -> None:
    rows = ready(1, LARGE), *(ready(n, SMALL) for n in (2, 3, 4)), ready(5, CPU_ONLY)
    fragmentation = Fragmentation(problem(*rows))
    assert fragmentation.growth(0, pack(free), pack(request_)) == growth


def test_a_node_that_a_request_may_not_use_is_fragmented_for_it() -> None:
    cluster = rack(LARGE, LARGE, labels=[H100, A100])
    wanting = ready(1, SMALL, require=requirements({"gpu.model": ["h100"]}))
    fragmentation = Fragmentation(prepare(snapshot(cluster, wanting)))
    growths = [fragmentation.growth(c, pack(LARGE), pack(SMALL)) for c in (0, 1)]
    assert growths == [0, -1]
    assert fragmentation.alike([0, 1]) == [[0], [1]]


def test_cpu_stays_free_beside_the_gpus_that_others_request() -> None:
    """The fullest node is the first; without its CPU its GPU would be of no use to the others."""
    cluster = rack(Resources(4, 4, 1), Resources(16, 16, 2))
    running = active(1, SMALL, node=2)
    assert nodes_of(make_plan(snapshot(cluster, running, ready(2, CPU_ONLY)))) == {2: 2}


def test_without_requests_for_gpus_the_fullest_node_is_taken() -> None:
    cluster = rack(Resources(16, 16, 2), Resources(4, 4, 1))
    assert nodes_of(make_plan(snapshot(cluster, ready(2, CPU_ONLY)))) == {2: 2}


def test_a_block_stays_whole_for_the_large_requests() -> None:
    """Of the 4 and 5 GPUs that are free, the fullest node would split the 4."""
    cluster = rack(Resources(16, 16, 4), Resources(8, 8, 4), Resources(32, 32, 8))
    running = active(1, LARGE, node=2), *(active(n, SMALL, node=3) for n in (2, 3, 4))
    assert nodes_of(make_plan(snapshot(cluster, *running, ready(5, SMALL)))) == {5: 3}


def test_nodes_stay_free_for_the_deployments_that_require_their_label() -> None:
    """Of nodes that are otherwise equal, the first would be taken."""
    cluster = rack(LARGE, LARGE, LARGE, labels=[H100, H100, A100])
    wants_h100 = requirements({"gpu.model": ["h100"]})
    rows = active(1, SMALL, node=1, require=wants_h100), ready(2, SMALL)
    assert nodes_of(make_plan(snapshot(cluster, *rows))) == {2: 3}


def test_a_preferred_node_is_taken_although_it_is_fragmented() -> None:
    cluster = rack(Resources(4, 4, 1), Resources(16, 16, 2), labels=[A100, H100])
    prefers = preferences({"gpu.model": ["a100"]})
    rows = active(1, SMALL, node=2), ready(2, CPU_ONLY, prefer=prefers)
    assert nodes_of(make_plan(snapshot(cluster, *rows))) == {2: 1}


def without_choice(snapshot: Snapshot) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "reduce_fragmentation", lambda problem, outcome: None)
        return make_plan(snapshot)


def but_for_nodes(plan: Plan) -> list[object]:
    """Return what the plan decides, without the nodes on which deployments start."""
    return [
        sorted((row.deployment, row.code) for row in plan.placements),
        [(row.deployment, row.node, row.for_, row.code) for row in plan.evictions],
        [(row.deployment, row.node, row.target_node, row.for_) for row in plan.moves],
        [row.deployment for row in plan.wait_reasons],
        plan.suspensions,
    ]


def is_only_a_choice_of_nodes(snapshot: Snapshot) -> bool:
    plan, before = make_plan(snapshot), without_choice(snapshot)
    assert but_for_nodes(plan) == but_for_nodes(before)
    assert violations(snapshot, plan) == []
    return plan != before


@bounded
@given(snapshots())
def test_the_choice_changes_nothing_but_nodes(snapshot: Snapshot) -> None:
    is_only_a_choice_of_nodes(snapshot)


def test_the_choice_changes_nothing_but_nodes_of_large_snapshots() -> None:
    changed = [is_only_a_choice_of_nodes(each) for each in on_nodes(8, seed=5)]
    assert any(changed)


def test_planning_on_the_result_changes_nothing() -> None:
    for each in on_nodes(4, seed=6):
        assert make_plan(Result(each, make_plan(each)).carried_out()).changes_nothing


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the work is done, the other deployments keep their nodes."""
    random = Random(2)
    capacities = [Resources(random.randint(8, 40), random.randint(8, 40), 4) for _ in range(40)]
    rows = [active(1, SMALL, node=1), *(ready(n, CPU_ONLY) for n in range(2, 60))]
    case = snapshot(rack(*capacities), *rows)
    before = nodes_of(without_choice(case))

    def changed(work: int) -> int:
        monkeypatch.setattr(node_choice, "_WORK", work)
        after = nodes_of(make_plan(case))
        return sum(after[d] != node for d, node in before.items())

    assert changed(0) == 0
    assert 0 < changed(32) < changed(2_000)
