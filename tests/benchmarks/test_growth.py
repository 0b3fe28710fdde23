"""The planner's work grows with the size of the snapshot, not with its square."""

from collections.abc import Callable
from cProfile import Profile
from dataclasses import replace

import pytest

from benchmarks.growth import Size, command, exponent, large_cluster
from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Snapshot


def calls(snapshot: Snapshot) -> int:
    """Return how many functions a plan calls, which is the same in each run."""
    with Profile() as profile:
        make_plan(snapshot)
    return sum(entry.callcount for entry in profile.getstats())


def test_twice_as_many_nodes_and_deployments_take_at_most_three_times_the_work() -> None:
    """From 400 nodes, 4,000 deployments are planned in one attempt."""
    for shapes in (20, 0):
        few, many = (calls(large_cluster(nodes, shapes, seed=1)) for nodes in (400, 800))
        assert many <= 3 * few


MANY_CLUSTERS = Size(pending=4_000, active=1_000, clusters=70)


@pytest.mark.parametrize(
    ("size", "more"),
    [
        (MANY_CLUSTERS, replace(MANY_CLUSTERS, pending=8_000)),
        (replace(MANY_CLUSTERS, waits=True), replace(MANY_CLUSTERS, pending=8_000, waits=True)),
        (replace(MANY_CLUSTERS, active=4_000), replace(MANY_CLUSTERS, active=8_000)),
        (replace(MANY_CLUSTERS, active=4_000), Size(4_000, 4_000, 140)),
        (Size(1_000, 4_000, 1), Size(1_000, 8_000, 1)),
    ],
)
def test_twice_as_much_takes_little_more_than_twice_the_work(size: Size, more: Size) -> None:
    few, many = (calls(each.snapshot(seed=1)) for each in (size, more))
    assert many <= 2.2 * few


def test_a_line_through_powers_has_their_exponent() -> None:
    sizes = [10, 20, 40]
    assert exponent(sizes, [0.1, 0.2, 0.4]) == pytest.approx(1)
    assert exponent(sizes, [0.1, 0.4, 1.6]) == pytest.approx(2)


def test_the_bench_measures_each_size_and_fits_an_exponent() -> None:
    lines: list[str] = []
    write: Callable[[str], object] = lines.append
    command({"series": ["clusters"], "shapes": 5, "seed": 1, "repeat": 1, "divide": 100}, write)
    assert lines[0] == "clusters, all requests different:"
    assert lines[1].split() == [
        "pending",
        "active",
        "clusters",
        "plan,",
        "CPU",
        "s",
        "sentences,",
        "CPU",
        "s",
        "peak",
        "MiB",
    ]
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["100", "500", clusters] for clusters in ("2", "3", "5", "10")
    ]
    assert lines[6].startswith("exponent: plan ")
    assert all(float(figure) >= 0 for line in lines[2:6] for figure in line.split()[3:])
    assert "clusters, 5 shapes:" in lines
