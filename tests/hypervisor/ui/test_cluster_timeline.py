"""The timeline of a cluster: rows, ends, and links from victims to preemptors."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hypervisor.ui.data.cluster_timeline import USAGE_HEIGHT, WIDTH, Stay, Timeline


def stay(run: int, placed: float, released: float | None, **fields: object) -> Stay:
    outcome = "" if released is None else "completed"
    made = Stay(run, run, f"job-{run}", 50, 2, placed, released, released, outcome)
    return replace(made, **fields)  # type: ignore[arg-type]


def drawn(*stays: Stay, limit: int = 200) -> Timeline:
    """Return a timeline of the seconds 0 to 1200, one unit each, of a cluster with 8 GPUs."""
    return Timeline(stays, 0, 1200, 8, limit=limit)


def test_a_bar_is_as_long_as_the_stay_was() -> None:
    (bar,) = drawn(stay(1, 100, 400)).bars

    assert (bar.x, bar.width, bar.tail) == (100, 300, 0)


def test_an_unfinished_stay_reaches_to_now() -> None:
    (bar,) = drawn(stay(1, 900, None)).bars

    assert bar.end == WIDTH


def test_a_stay_from_before_the_window_begins_at_the_edge() -> None:
    (bar,) = drawn(stay(1, -500, 100)).bars

    assert (bar.x, bar.width) == (0, 100)


def test_the_time_while_a_container_stops_is_the_tail_of_its_bar() -> None:
    ended, stopping = drawn(
        stay(1, 0, 100, ended=130.0), stay(2, 0, 1000, ended=None, outcome="evicted")
    ).bars

    assert (ended.tail, stopping.tail) == (30, 200)


def test_concurrent_stays_have_separate_rows_and_a_free_row_is_reused() -> None:
    bars = drawn(stay(1, 0, 500), stay(2, 100, 300), stay(3, 300, 600)).bars

    assert [bar.row for bar in bars] == [0, 1, 1]


def test_a_victim_is_linked_with_its_preemptor() -> None:
    victim = stay(1, 0, 500, preemptor=2, outcome="evicted")
    earlier, later = stay(2, 100, 200), stay(3, 500, None, deployment=2)

    (link,) = drawn(victim, earlier, later).links

    assert (link.victim.stay.run, link.preemptor.stay.run) == (1, 3)
    assert link.path.startswith("M500.0 ")


def test_a_victim_whose_preemptor_is_not_in_view_has_no_link() -> None:
    assert drawn(stay(1, 0, 500, preemptor=9)).links == []


def test_only_the_longest_stays_are_drawn_and_the_others_are_counted() -> None:
    timeline = drawn(stay(1, 0, 10), stay(2, 0, 900), stay(3, 0, 800), limit=2)

    assert [bar.stay.run for bar in timeline.bars] == [2, 3]
    assert timeline.not_drawn == 1


def test_a_name_is_shortened_to_its_bar() -> None:
    long = stay(1, 0, 80, name="a-very-long-name-indeed")

    labels = [bar.label for bar in drawn(long, stay(2, 0, 300), stay(3, 0, 10)).bars]

    assert labels == ["a-very-lo…", "job-2", ""]


def test_the_allocation_rises_and_falls_with_the_stays() -> None:
    path = drawn(stay(1, 0, 600), stay(2, 300, None, amount=6)).usage

    quarter, full = USAGE_HEIGHT * 0.75, 0.0
    assert f"L300.0 {quarter:.1f}L300.0 {full:.1f}" in path
    assert f"L600.0 {full:.1f}L600.0 {USAGE_HEIGHT * 0.25:.1f}" in path


stays = st.builds(
    stay,
    run=st.integers(1, 10**6),
    placed=st.integers(-500, 1199),
    released=st.none(),
    amount=st.integers(0, 4),
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(stays, st.none() | st.integers(0, 900)), max_size=30))
def test_no_two_bars_of_a_row_overlap(drawn_from: list[tuple[Stay, int | None]]) -> None:
    rows = [
        replace(row, run=number, released=None if length is None else row.placed + length)
        for number, (row, length) in enumerate(drawn_from)
    ]

    bars = drawn(*rows).bars

    for row in {bar.row for bar in bars}:
        inside = sorted((bar.x, bar.end) for bar in bars if bar.row == row)
        assert all(first[1] <= second[0] + 1e-6 for first, second in pairwise(inside))
