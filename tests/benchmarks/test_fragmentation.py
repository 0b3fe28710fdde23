from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from django.core.management import CommandError, call_command

from benchmarks.cases import POLICY
from benchmarks.fragmentation import figures, inflate, read_nodes
from benchmarks.placers import (
    Placer,
    at_random,
    best_fit,
    dot_product,
    fgd,
    fragmentation,
    gpu_packing,
    lowest,
    placers,
    planner_in_batches,
    planner_one_by_one,
)
from scheduling.planner.pipeline import make_plan
from scheduling.planner.resources import NOTHING, Resources
from scheduling.planner.snapshot import Cluster, Deployment, Node, Snapshot

SMALL, LARGE, CPU_ONLY = Resources(2, 1, 1), Resources(8, 1, 4), Resources(4, 1, 0)
TYPICAL = Counter([SMALL] * 5 + [LARGE] * 3 + [CPU_ONLY] * 2)
WHOLE = Resources(16, 16, 4)


def nodes(*capacities: Resources) -> tuple[Node, ...]:
    return tuple(Node(n, capacity, f"n{n}") for n, capacity in enumerate(capacities, start=1))


def place(placer: Placer, machines: Sequence[Node], *requests: Resources) -> list[bool]:
    return list(placer(machines, requests, Random(1)))


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (Resources(16, 16, 4), 4 * 2),  # The requests without GPUs cannot use any of the four.
        (Resources(16, 16, 3), 3 * (2 + 3)),  # Nor can those of 4 GPUs use any of three.
        (Resources(7, 16, 4), 4 * (2 + 3)),  # CPU for the small ones only.
        (Resources(1, 16, 4), 4 * 10),  # Too little CPU for any.
        (Resources(16, 0, 2), 2 * 10),  # No RAM.
        (Resources(16, 16, 0), 0),  # No GPU is free, so that none is unusable.
    ],
)
def test_fragmentation_is_the_number_of_gpus_that_the_workload_cannot_use(
    free: Resources, expected: int
) -> None:
    """Weng et al., section 3.2: the expectation over the workload, here times its ten requests."""
    assert fragmentation(free, TYPICAL) == expected


def test_fgd_keeps_a_block_whole_that_others_would_split() -> None:
    """A small request costs 3 * 5 - 4 * 2 = 7 on the whole node, and 1 * 5 - 2 * 5 on the other."""
    machines = nodes(WHOLE, Resources(16, 16, 2))
    assert place(fgd(TYPICAL), machines, SMALL, LARGE) == [True, True]
    assert place(lowest(lambda spot, request: 0), machines, SMALL, LARGE) == [True, False]


def test_fgd_keeps_cpu_beside_gpus() -> None:
    """Best fit takes the fuller node, and with its CPU the use of its only GPU."""
    machines = nodes(Resources(4, 4, 1), Resources(16, 16, 1))
    requests = CPU_ONLY, SMALL, SMALL
    assert place(fgd(TYPICAL), machines, *requests) == [True] * 3
    assert place(best_fit(WHOLE), machines, *requests) == [True, True, False]


def test_best_fit_takes_the_node_with_least_left() -> None:
    machines = nodes(Resources(8, 8, 4), Resources(4, 4, 1), Resources(16, 16, 4))
    assert place(best_fit(WHOLE), machines, SMALL, LARGE, LARGE) == [True] * 3


def test_dot_product_takes_the_smallest_product_with_what_is_free() -> None:
    """In parts of the largest node, the GPUs give 1/4 * 1/4 on the second node, 4/4 * 1/4 on the
    first, which stays whole.
    """
    machines = nodes(Resources(16, 16, 4), Resources(4, 4, 1))
    assert place(dot_product(WHOLE), machines, SMALL, LARGE) == [True, True]


def test_gpu_packing_takes_a_node_in_use_before_an_idle_one() -> None:
    """Of the idle nodes it takes the one with the fewest GPUs."""
    machines = nodes(WHOLE, Resources(16, 16, 2), Resources(16, 16, 2))
    packing = lowest(gpu_packing)
    assert place(packing, machines, SMALL, SMALL, SMALL, SMALL, LARGE) == [True] * 5
    assert place(packing, machines, *[SMALL] * 5, LARGE) == [True] * 5 + [False]


def test_random_placement_takes_every_node_that_fits() -> None:
    """Of two nodes, either is first in some runs: a large request fits afterwards in about half."""
    machines = nodes(WHOLE, Resources(16, 16, 2))
    runs = [list(at_random(machines, [SMALL, LARGE], Random(n))) for n in range(40)]
    assert 10 < sum(fits for _, fits in runs) < 30


def test_the_planner_one_by_one_is_a_plan_for_each_request() -> None:
    random = Random(3)
    machines = nodes(*random.choices([WHOLE, Resources(8, 8, 2), Resources(9, 3, 0)], k=8))
    requests = random.choices([SMALL, LARGE, CPU_ONLY, Resources(5, 2, 2)], k=60)
    assert place(planner_one_by_one, machines, *requests) == _planned(machines, requests)


def _planned(machines: Sequence[Node], requests: Sequence[Resources]) -> list[bool]:
    """Return what a plan for each request, which sees no later one, places."""
    capacity = sum((node.capacity for node in machines), NOTHING)
    cluster = Cluster(1, capacity, nodes=tuple(machines))
    active: list[Deployment] = []
    placed = []
    for n, request in enumerate(requests, start=1):
        pending = Deployment(n, 1, request, n)
        found = make_plan(Snapshot(99, POLICY, (cluster,), (*active, pending))).placements
        active += [Deployment(n, 1, request, n, cluster=1, node=p.node, placed_at=9) for p in found]
        placed.append(bool(found))
    return placed


def test_the_planner_plans_a_batch_together() -> None:
    """It places the two of a batch that fit, in whichever order they arrive."""
    machines = nodes(Resources(16, 16, 4))
    assert place(planner_in_batches(3), machines, LARGE, SMALL, SMALL) == [False, True, True]
    assert place(planner_in_batches(1), machines, LARGE, SMALL, SMALL) == [True, False, False]


def test_requests_arrive_until_they_request_enough_gpus() -> None:
    drawn = list(inflate([SMALL, LARGE, CPU_ONLY], 50, Random(1)))
    arrived = sum(request.gpu for request in drawn)
    assert 50 <= arrived < 54
    assert set(drawn) == {SMALL, LARGE, CPU_ONLY}


def test_figures_are_taken_when_a_share_of_the_gpus_has_been_requested() -> None:
    """Of ten GPUs the first nine requests get eight; all after that are refused."""
    placed = [True] * 8 + [False] * 5
    found = figures([SMALL] * 13, placed, 10)
    assert found[90] == pytest.approx((20, 100 * 8 / 9))
    assert found[95] == found[100] == pytest.approx((20, 80))
    assert found[130] == pytest.approx((20, 100 * 8 / 13))


NODES = "node,cpu_milli,memory_mib,gpu,model\n"
TRACE = "submit_s,duration_s,cpu_milli,memory_mib,gpu,priority,tenant\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return a trace of requests of 1 and 4 GPU, and eight nodes of 4."""
    trace, machines = tmp_path / "trace.csv", tmp_path / "nodes.csv"
    trace.write_text(TRACE + "".join(f"{n},9,2000,1024,{1 + 3 * (n % 2)},0,ml\n" for n in range(6)))
    machines.write_text(NODES + "".join(f"n{n},16000,16384,4,T4\n" for n in range(8)))
    return trace, machines


def bench(trace: Path, machines: Path, *arguments: str) -> str:
    out = StringIO()
    files = f"--trace={trace}", f"--nodes={machines}"
    call_command("bench", "fragmentation", *files, *arguments, stdout=out)
    return out.getvalue()


def test_every_policy_fills_the_same_cluster(files: tuple[Path, Path]) -> None:
    out = bench(*files, "--seeds=2", "--batch=3")
    assert "8 nodes with 32 GPUs, 2 seeds" in out
    for name in placers([SMALL], nodes(WHOLE), 3):
        rows = [line for line in out.splitlines() if line.startswith(f"{name}  ")]
        assert len(rows) == 2
        assert all(row.count(" to ") == 6 for row in rows)


def test_nodes_are_read_with_their_model_as_a_label() -> None:
    lines = [NODES, "a,8000,1024,2,T4\n", "b,4000,1024,0,\n"]
    assert read_nodes(lines) == (
        Node(1, Resources(8000, 1024, 2), "a", {"gpu.model": "T4"}),
        Node(2, Resources(4000, 1024, 0), "b"),
    )
    assert read_nodes(lines)[0].labels == {"gpu.model": "T4"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("node,cpu_milli,memory_mib,gpu\n", "line 1: the column model is missing"),
        (NODES + "a,8000,1024,two,T4\n", "line 2: 'two' is not a whole number."),
        (NODES + "a,8000,1024\n", "line 2: "),
        (NODES + "a,8000,1024,-1,T4\n", "line 2: an amount is negative"),
        (NODES + "a,8000,1024,0,\n", "no node has a GPU"),
    ],
)
def test_unusable_nodes_are_refused(
    files: tuple[Path, Path], tmp_path: Path, text: str, error: str
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(text)
    with pytest.raises(CommandError, match=error):
        bench(files[0], wrong)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("--only=worst", "--only: no policy starts so; there are random, best fit"),
        ("--seeds=0", "--seeds: must be at least 1"),
        ("--batch=0", "--batch: must be at least 1"),
    ],
)
def test_unusable_options_are_refused(files: tuple[Path, Path], argument: str, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        bench(*files, argument)
