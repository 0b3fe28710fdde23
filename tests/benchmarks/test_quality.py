"""The bench `quality`, on known optima, so that the exact solver is not needed."""

import json
from collections import Counter
from io import StringIO
from pathlib import Path

from django.core.management import call_command

from benchmarks.cases import on_nodes, synthetic, with_default_settings
from benchmarks.planners import PLANNERS
from benchmarks.quality import sample, summarize
from benchmarks.references import Optimum, digest
from benchmarks.rules import Result, violations
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot

ONE_GPU = Resources(1_000, 1_024, 1)


def crowded() -> Snapshot:
    """Return two clusters of 2 GPU, of which low priorities fill one, and three higher ones."""
    clusters = (Cluster(1, Resources(2_000, 2_048, 2)), Cluster(2, Resources(2_000, 2_048, 2)))
    low = [Deployment(n, 0, ONE_GPU, 0, cluster=1, placed_at=n) for n in (1, 2)]
    high = [Deployment(n, 1, ONE_GPU, 10) for n in (3, 4, 5)]
    return Snapshot(100, Policy(starvation_seconds=10**9), clusters, (*low, *high))


def test_each_planner_is_compared_with_the_optimum() -> None:
    best = Optimum({1: 3, 0: 1}, 1, proven=True)
    strict = sample(PLANNERS["strict priority, no preemption"], crowded(), best)
    planner = sample(PLANNERS["this planner"], crowded(), best)
    assert (strict.counts, strict.evictions) == ((2, 2), 0)
    assert (planner.counts, planner.evictions, planner.needless) == ((3, 1), 1, False)
    assert summarize([strict, planner]).lexicographic == 50.0


def test_the_snapshots_on_nodes_are_tight_and_their_plans_break_no_rule() -> None:
    snapshots = list(on_nodes(8, 7))
    assert snapshots == list(on_nodes(8, 7))
    plans = [make_plan(snapshot) for snapshot in snapshots]
    for snapshot, plan in zip(snapshots, plans, strict=True):
        assert violations(snapshot, plan) == []
    codes = {wait.code for plan in plans for wait in plan.wait_reasons}
    assert {"no_free_capacity", "scattered"} <= codes
    assert any(move.source == move.target for plan in plans for move in plan.moves)


def test_a_search_on_many_nodes_also_changes_single_deployments() -> None:
    """With the search's whole work for the order of levels, 18 of the second level would run."""
    snapshot = list(on_nodes(24, seed=1))[22]
    result = Result(snapshot, make_plan(snapshot))
    counts = Counter(result.deployments[d].priority for d in result.after)
    assert (len(snapshot.bins), len(snapshot.deployments)) == (24, 160)
    assert [counts[priority] for priority in sorted(counts, reverse=True)] == [48, 21, 4, 6]


def test_no_plan_that_is_made_level_by_level_has_a_needless_eviction() -> None:
    for snapshot in synthetic(10, 7):
        best = Optimum({d.priority: 1 for d in snapshot.deployments}, 0, proven=False)
        for name in (
            "re-place everything, oldest first", "the best of seven such plans", "this planner",
        ):  # fmt: skip
            assert not sample(PLANNERS[name], snapshot, best).needless


def test_the_digest_of_a_snapshot_ignores_fields_that_are_not_set() -> None:
    one, other = synthetic(2, 3)
    assert digest(one) == digest(Snapshot.from_json(one.to_json()))
    assert digest(one) != digest(other)


def test_stored_references_are_used_instead_of_the_solver(tmp_path: Path) -> None:
    stored = tmp_path / "references.jsonl"
    rows = []
    for snapshot in synthetic(2, 5):
        counts = {str(d.priority): 10 for d in snapshot.deployments}
        best = {"counts": counts, "evictions": 4, "proven": True}
        rows.append({"snapshot": digest(snapshot), "work": 2.0, "best": best})
    rows[1]["best"] = None
    stored.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = StringIO()
    arguments = "--count=2", "--seed=5", "--settings=no-turns", f"--references={stored}"
    call_command("bench", "quality", *arguments, stdout=out)
    assert (
        "1 synthetic snapshots without turns; the reference is proved to be optimal for 1"
        in out.getvalue()
    )
    assert "1 more were left out" in out.getvalue()
    assert "This planner has 0 violations" in out.getvalue()


def test_snapshots_with_the_default_settings_have_turns_and_differ_in_nothing_else() -> None:
    before = list(synthetic(6, 3))
    after = list(with_default_settings(before, 1))
    assert {s.policy for s in after} == {Policy()}
    assert [[d.request for d in s.deployments] for s in after] == [
        [d.request for d in s.deployments] for s in before
    ]
    assert any(any(Result(s, PLANNERS["this planner"](s)).taking_turns.values()) for s in after)
    assert len({d.max_runtime_s is None for s in after for d in s.deployments}) == 2
