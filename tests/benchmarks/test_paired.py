from dataclasses import replace

import pytest

from benchmarks.paired import (
    Figure,
    figures,
    group_rows,
    levels_out_of_order,
    mean_rows,
    spread,
    spread_rows,
)
from scheduling.simulation.metrics import LevelSummary, Summary

WAIT = Figure("mean wait, s", lambda s: s.wait_mean, 60)


def summary(wait: float, **waits: float) -> Summary:
    """Return figures with this mean wait, and mean waits by level, such as `p30=5`."""
    levels = tuple(
        LevelSummary(int(name[1:]), 1, 1, mean, 0, 0, 1.0)
        for name, mean in sorted(waits.items(), key=lambda pair: -int(pair[0][1:]))
    )
    return Summary(
        levels, {"cpu_milli": 0.5, "ram_mib": 0.5, "gpu": 0.0}, goodput=1.0, evictions=0,
        out_of_order=0, idle_by_reservations=0.0, slowdown=1.0, lost_hours=0.0, fairness=1.0,
        queue_mean=0.0, wait_mean=wait, longest_wait=0, biggest_mean=0.0, biggest_wait=0,
    )  # fmt: skip


def test_a_constant_is_added_to_waits_so_that_zeros_count() -> None:
    assert WAIT.mean([summary(0), summary(180)]) == pytest.approx(60)
    assert WAIT.ratios([(summary(0), summary(60)), (summary(60), summary(0))]) == [0.5, 2.0]
    assert WAIT.heading == "mean wait, s (+60)"


def test_a_level_that_a_cell_lacks_is_left_out_of_its_pairs() -> None:
    with_level, without = summary(0, p30=60, p0=0), summary(0, p0=0)
    level = next(f for f in figures([with_level]) if f.name == "mean wait of priority 30, s")
    assert level.mean([with_level, without]) == pytest.approx(60)
    assert level.ratios([(with_level, with_level), (without, without)]) == [1.0]
    assert level.mean([without]) is None


def test_the_spread_is_the_geometric_mean_and_nearest_rank_percentiles() -> None:
    assert spread([4.0, 0.25, 1.0, 1.0]) == pytest.approx([1.0, 0.25, 0.25, 1.0, 4.0, 4.0])


def test_a_level_is_out_of_order_if_it_waits_longer_than_the_one_below() -> None:
    assert levels_out_of_order(summary(0, p90=5, p60=4, p30=4, p0=9)) == 1
    assert levels_out_of_order(summary(0, p90=3, p60=2, p0=1)) == 2
    rows = list(mean_rows({"a": [summary(0, p90=2, p0=1), summary(0, p0=3)]}))
    assert rows[-1] == ["levels out of order, of 1", "1"]


def test_policies_are_divided_by_the_base_in_the_same_cell() -> None:
    base = [summary(0), summary(540)]
    other = [replace(base[0], wait_mean=60.0), replace(base[1], wait_mean=90.0)]
    rows = list(spread_rows({"base": base, "other": other}, "base"))
    place = rows.index(["mean wait, s (+60)", *[""] * 6])
    assert rows[place + 1] == ["  other", "0.707", "0.250", "0.250", "0.250", "2.000", "2.000"]
    assert all(row[0] != "  base" for row in rows)


def test_the_ratios_of_each_group_of_cells_are_averaged() -> None:
    base = [summary(0), summary(0), summary(0)]
    other = [summary(60), summary(540), summary(0, p30=5)]
    rows = list(group_rows({"base": base, "other": other}, "base", ["x", "y", "x"]))
    assert rows[0][1:] == ["x", "y"]
    place = rows.index(["mean wait, s (+60)", "", ""])
    assert rows[place + 1] == ["  other", "1.414", "10.000"]
    place = rows.index(["mean wait of priority 30, s (+60)", "", ""])
    assert rows[place + 1] == ["  other", "-", "-"]
