"""A scatter plot of named points as a separate SVG file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scheduling.simulation.svg import (
    LEFT,
    RIGHT,
    WIDTH,
    across,
    canvas,
    colours,
    dot,
    legend,
    line,
    text,
    upwards,
)

_TALL = 420
_LETTER = 6.0  # the largest width of a letter
_Box = tuple[float, float, float, float]
_STYLE = "<style>@media (prefers-color-scheme: dark) { text { fill: #ddd; } }</style>"


@dataclass(frozen=True, slots=True)
class Point:
    group: str
    name: str
    x: float
    y: float


def scatter(points: Sequence[Point], x_unit: str, y_unit: str) -> str:
    """Draw named points, with a colour for each group; x is logarithmic.

    Where names would overlap, only the name of the earlier point is drawn.
    """
    groups = list(dict.fromkeys(point.group for point in points))
    shades = dict(zip(groups, colours(len(groups)), strict=True))
    wide = _Axis.around([math.log10(point.x + 1) for point in points])
    tall = _Axis.around([point.y for point in points])
    parts = [
        legend(groups),
        text(WIDTH - RIGHT, _TALL - 4, x_unit, "end"),
        text(WIDTH - RIGHT, 13, y_unit + " ↑", "end"),
    ]
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = upwards(part, _TALL)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y))
        parts.append(text(LEFT - 8, y + 4, f"{tall.at(part):.2f}", "end"))
        label = f"{10 ** wide.at(part) - 1:,.0f}"
        parts.append(text(across(part), _TALL - 20, label, "middle" if part < 1 else "end"))
    labelled: list[_Box] = []
    for point in points:
        place = wide.part(math.log10(point.x + 1))
        x, y = across(place), upwards(tall.part(point.y), _TALL)
        parts.append(dot(x, y, shades[point.group], f"{point.group}: {point.name}", 3))
        parts += _label(point.name, x, y, labelled, ends=place > 0.8)
    return canvas(parts, f"{y_unit} against {x_unit}", height=_TALL, style=_STYLE)


def _label(name: str, x: float, y: float, labelled: list[_Box], *, ends: bool) -> list[str]:
    """Return the name next to its dot, or nothing where it would overlap another name."""
    wide = _LETTER * len(name)
    left = x - 6 - wide if ends else x + 6
    box = left, y - 6, left + wide, y + 6
    if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in labelled):
        return []
    labelled.append(box)
    return [text(x - 6 if ends else x + 6, y + 4, name, "end" if ends else "start")]


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float]) -> "_Axis":
        low, high = min(values), max(values)
        return cls(low, high if high > low else low + 1)

    def at(self, part: float) -> float:
        return self.low + part * (self.high - self.low)

    def part(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)
