from xml.etree import ElementTree

import pytest

from scheduling.simulation.plots import Line, Spread, lines, spreads
from scheduling.simulation.scatter import Point, scatter
from scheduling.simulation.svg import duration, number, round_ticks


@pytest.mark.parametrize(
    ("top", "ticks"),
    [
        (549.8, [0, 200, 400, 600]),
        (100, [0, 20, 40, 60, 80, 100]),
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_an_axis_has_round_numbers_and_reaches_the_highest_value(
    top: float, ticks: list[float]
) -> None:
    found = round_ticks(top)
    if top:
        assert found == pytest.approx(ticks)
    assert found[-1] >= top


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (90, "1.5 min"), (3_600, "1 h"), (700_000, "8.1 d")],
)
def test_a_duration_has_a_suitable_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_numbers_on_an_axis_have_no_needless_digits() -> None:
    assert [number(value) for value in (1_500, 2.5, 0.25)] == ["1,500", "2.5", "0.25"]


def test_plots_are_well_formed_and_fit_their_canvas() -> None:
    plots = [
        lines([Line("planner", [(0, 0), (5, 3.5)]), Line("a <b>", [(0, 7)])], "queue", "hours"),
        lines([], "nothing", "hours"),
        spreads({"priority 1": {"planner": Spread(0, 20, 700_000)}}, "waits"),
        scatter([Point("load 1", "defaults", 100, 0.9)], "wait", "goodput"),
    ]
    for plot in plots:
        root = ElementTree.fromstring(plot)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width
            assert 0 <= float(circle.attrib["cy"]) <= height
