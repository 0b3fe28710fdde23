"""Plots of a replay over time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scheduling.simulation.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    across,
    canvas,
    colours,
    dot,
    duration,
    legend,
    line,
    number,
    round_ticks,
    text,
    upwards,
)

_ROW, _GAP = 15, 14
_TIMES = (1, 10, 60, 600, 3_600, 36_000, 86_400, 864_000, 8_640_000)


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution of waits, in seconds."""

    median: float
    mean: float
    p95: float


def lines(plotted: Sequence[Line], label: str, x_unit: str, top: float | None = None) -> str:
    """Draw the lines over a common axis from 0 to `top`, or to the highest value."""
    every = [point for curve in plotted for point in curve.points]
    right = max((x for x, _ in every), default=1.0) or 1.0
    ups = round_ticks(top or max((y for _, y in every), default=1.0) or 1.0)
    parts = [legend([curve.name for curve in plotted])]
    for value in ups:
        y = upwards(value / ups[-1])
        parts += [line(LEFT, y, WIDTH - RIGHT, y), text(LEFT - 8, y + 4, number(value), "end")]
    for value in round_ticks(right, 8):
        if value <= right:
            parts.append(text(across(value / right), HEIGHT - BOTTOM + 15, number(value), "middle"))
    parts.append(text(across(1), HEIGHT - 4, x_unit, "end"))
    for curve, colour in zip(plotted, colours(len(plotted)), strict=True):
        places = " ".join(
            f"{across(x / right):.1f},{upwards(y / ups[-1]):.1f}" for x, y in curve.points
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" stroke-linejoin="round" '
            f'points="{places}"/>'
        )
    return canvas(parts, label)


def spreads(groups: Mapping[str, Mapping[str, Spread]], label: str) -> str:
    """Draw a row for each name of each group, on a logarithmic axis of time.

    A bar reaches from the median to the 95th percentile, and a dot is at the mean.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    shades = dict(zip(names, colours(len(names)), strict=True))
    longest = max((s.p95 for g in groups.values() for s in g.values()), default=1.0)
    longest = max([longest, *(s.mean for g in groups.values() for s in g.values()), 10])
    whole = math.log10(longest + 1)
    height = TOP + BOTTOM + sum(len(group) * _ROW + _GAP for group in groups.values())
    parts = [legend(names)]
    for seconds in [0, *(time for time in _TIMES if time <= longest)]:
        x = across(math.log10(seconds + 1) / whole)
        parts.append(line(x, TOP - 6, x, height - BOTTOM))
        parts.append(text(x, height - BOTTOM + 15, duration(seconds), "middle"))
    y = TOP + _GAP / 2
    for title, group in groups.items():
        parts.append(text(LEFT - 8, y + len(group) * _ROW / 2 + 4, title, "end"))
        for name, spread in group.items():
            y += _ROW
            parts.append(_spread(name, spread, y - _ROW / 2, whole, shades[name]))
        y += _GAP
    return canvas(parts, label, height=height)


def _spread(name: str, spread: Spread, y: float, whole: float, colour: str) -> str:
    median, mean, p95 = (
        across(math.log10(seconds + 1) / whole)
        for seconds in (spread.median, spread.mean, spread.p95)
    )
    title = (
        f"{name}: median {duration(spread.median)}, mean {duration(spread.mean)}, "
        f"95th percentile {duration(spread.p95)}"
    )
    return line(median, y, p95, y, colour + "77", 5) + dot(mean, y, colour, title)
