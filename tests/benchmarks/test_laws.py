"""The bench `laws`: it reaches what the rules distinguish, and it finds plans that break them."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from benchmarks import laws
from benchmarks.exhaustive import Avoidable
from benchmarks.reservations import unreserved
from benchmarks.rules import Result, violations
from benchmarks.worlds import world
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Eviction, Placement, Plan, Stated, WaitReason
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster, Deployment, Snapshot


def gpu(number: int) -> Resources:
    return Resources(0, 0, number)


def two_clusters() -> Snapshot:
    """Return full clusters of 6 and 3 GPU, and two deployments that fit together on the first."""
    return Snapshot(
        1_000,
        Policy(),
        (Cluster(1, gpu(6)), Cluster(2, gpu(3))),
        (
            Deployment(1, 1, gpu(6), 0, cluster=1, placed_at=0),
            Deployment(2, 1, gpu(3), 0, requested_cluster=2, cluster=2, placed_at=0),
            Deployment(3, 5, gpu(3), 900),
            Deployment(4, 5, gpu(3), 990),
        ),
    )


def plan(where: dict[int, int], evicted: dict[int, tuple[int, int]]) -> Plan:
    """Return a plan; `evicted` has the cluster and the preemptor of each victim."""
    waiting = {3, 4} - where.keys()
    return Plan(
        placements=tuple(Placement(d, c, c, "preempting", "Yes.") for d, c in where.items()),
        evictions=tuple(
            Eviction(d, c, c, preemptor, False, "preempted", "Yes.")
            for d, (c, preemptor) in evicted.items()
        ),
        wait_reasons=tuple(WaitReason(d, Stated("no_free_capacity", "No.")) for d in waiting),
    )


def test_with_fifo_a_plan_that_passes_the_longest_waiting_one_breaks_rule_4() -> None:
    rows = Deployment(3, 5, gpu(3), 900), Deployment(4, 5, gpu(2), 990)
    waits = WaitReason(3, Stated("no_free_capacity", "No."))
    made = Plan(placements=(Placement(4, 1, 1, "placed", "Yes."),), wait_reasons=(waits,))
    passed = ["rule 4: 3 waits although it fits on cluster 1"]
    for order, broken in ("most", []), ("fifo", passed):
        snapshot = Snapshot(1_000, Policy(order=order), (Cluster(1, gpu(4)),), rows)
        assert violations(snapshot, made) == broken


def test_an_eviction_that_another_plan_avoids_is_found() -> None:
    apart = plan({3: 1, 4: 2}, {1: (1, 3), 2: (2, 4)})
    together = plan({3: 1, 4: 1}, {1: (1, 3)})
    assert violations(two_clusters(), apart) == []
    found = list(Avoidable(Result(two_clusters(), apart)).sentences())
    assert found == ["rule 8: [2] lose their place, but the same deployments run if they stay"]
    avoidable = Avoidable(Result(two_clusters(), together))
    assert avoidable.searched
    assert list(avoidable.sentences()) == []


def test_a_turn_without_a_reservation_is_found() -> None:
    """4 has waited for longer than 3 will run, so that capacity is reserved for it."""
    ends = replace(two_clusters().deployments[2], priority=6, max_runtime_s=900)
    waits = Deployment(4, 5, gpu(6), -10)
    snapshot = replace(two_clusters(), deployments=(*two_clusters().deployments[:2], ends, waits))
    made = plan({3: 1}, {1: (1, 3)})
    assert list(unreserved(Result(snapshot, made))) == ["rule 9: no capacity is reserved for 4"]
    reserved = WaitReason(
        4, Stated("no_free_capacity", "No.", {"reservation": {"cluster": 1, "node": 1}})
    )
    assert list(unreserved(Result(snapshot, replace(made, wait_reasons=(reserved,))))) == []
    assert list(unreserved(Result(snapshot, make_plan(snapshot)))) == []


def test_a_deployment_that_overtakes_an_equal_one_is_found() -> None:
    sentences = violations(two_clusters(), plan({4: 2}, {2: (2, 4)}))
    assert "rule 5: 3 waits, and 4, which comes after it, starts" in sentences


def test_the_worlds_reach_everything_that_the_rules_distinguish() -> None:
    reached = laws.check(1_500, seed=2).reached
    for name in (
        "budget spent", "budget spent, but displaced", "node cordoned", "node draining",
        "node lost", "node overcommitted", "displaced after a checkpoint", "eviction", "move",
        "new suspension", "not preemptible", "required label", "requested cluster",
        "searched for fewer evictions", "several nodes",
        "turn", "waits: no_free_capacity", "waits: preemption_suspended", "waits: reserved",
        "waits: reserved_for_other", "within the minimum run time",
    ):  # fmt: skip
        assert reached[name] >= 10, name


def test_a_world_is_made_again_from_its_seed_and_number() -> None:
    assert world(3, 14) == world(3, 14)
    assert world(3, 14) != world(4, 14)


def test_the_command_reports_what_it_reached() -> None:
    out = StringIO()
    call_command("bench", "laws", "--count=600", "--processes=2", stdout=out)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["worlds", "600"] in lines
    assert out.getvalue().splitlines()[-1] == "No plan breaks a rule."


def test_the_command_fails_and_writes_the_smallest_snapshot_that_breaks_a_rule(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A planner that places nothing lets a deployment wait for no reason."""

    def idle(snapshot: Snapshot) -> Plan:
        made = make_plan(snapshot)
        waits = tuple(
            WaitReason(d.id, Stated("no_free_capacity", "No."))
            for d in snapshot.deployments
            if d.cluster is None
        )
        return replace(made, placements=(), evictions=(), moves=(), wait_reasons=waits)

    monkeypatch.setattr(laws, "make_plan", idle)
    file = tmp_path / "smallest.json"
    out = StringIO()
    with pytest.raises(CommandError, match=r"plans break a rule\."):
        call_command("bench", "laws", "--count=20", "--processes=1", f"--write={file}", stdout=out)
    assert "rule 4" in out.getvalue()
    written = Snapshot.from_json(json.loads(file.read_text()))
    assert (len(written.clusters), len(written.deployments)) == (1, 1)


@pytest.mark.parametrize(("seed", "number"), [(1, 40241), (2, 50007), (2, 56130), (2, 84006)])
def test_a_change_of_node_that_leaves_less_fragmentation_breaks_no_rule(
    seed: int, number: int
) -> None:
    """If a start changed its node in these worlds, another one would fit that has to wait."""
    snapshot = world(seed, number)
    assert laws.broken(snapshot, make_plan(snapshot)) == []
