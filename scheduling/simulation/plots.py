"""Small plots as SVG text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 24, 30
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Point:
    group: str
    name: str
    x: float
    y: float


def scatter(points: Sequence[Point], x_unit: str, y_unit: str) -> str:
    """Draw named points, a colour for each group; x is logarithmic, both axes as long as needed."""
    groups = list(dict.fromkeys(point.group for point in points))
    colours = dict(zip(groups, _colours(len(groups)), strict=True))
    across = _Axis.around([math.log10(point.x + 1) for point in points])
    up = _Axis.around([point.y for point in points])
    parts = [
        _legend(groups),
        _text(WIDTH - _RIGHT, HEIGHT - 1, x_unit, "end"),
        _text(WIDTH - _RIGHT, 13, y_unit + " ↑", "end"),
    ]
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = _y(part, 1.0)
        parts.append(_rule(y) + _text(_LEFT - 6, y + 4, f"{up.at(part):.3f}", "end"))
        parts.append(
            _text(_x(part, 1.0), HEIGHT - 14, f"{10 ** across.at(part) - 1:,.0f}", "middle")
        )
    for point in points:
        place = across.part(math.log10(point.x + 1))
        x, y = _x(place, 1.0), _y(up.part(point.y), 1.0)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[point.group]}">'
            f"<title>{escape(point.group)}: {escape(point.name)}</title></circle>"
        )
        ends = place > 0.8
        parts.append(_text(x - 5 if ends else x + 5, y + 3, point.name, "end" if ends else "start"))
    return _svg(parts)


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


def lines(plotted: Sequence[Line], unit: str) -> str:
    """Draw the lines over a common axis of the unit."""
    every = [point for line in plotted for point in line.points]
    right = max((x for x, _ in every), default=1.0) or 1.0
    top = max((y for _, y in every), default=1.0) or 1.0
    paths = [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(f"{_x(x, right):.1f},{_y(y, top):.1f}" for x, y in line.points)
        + '"/>'
        for line, colour in zip(plotted, _colours(len(plotted)), strict=True)
    ]
    ticks = [
        _text(_x(right * part / 4, right), HEIGHT - 10, f"{right * part / 4:.0f}", "middle")
        for part in range(5)
    ]
    legend = _legend([line.name for line in plotted])
    unit_label = _text(WIDTH - _RIGHT, HEIGHT - 22, unit, "end")
    return _svg([_grid(top), *paths, *ticks, unit_label, legend])


def bars(groups: Mapping[str, Mapping[str, float]]) -> str:
    """Draw one group of bars for each inner key, a bar in it for each outer one."""
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    top = max((value for group in groups.values() for value in group.values()), default=1.0) or 1.0
    slot = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
    thick = slot * 0.8 / max(len(groups), 1)
    parts = [_grid(top), _legend(list(groups))]
    for place, label in enumerate(labels):
        start = _LEFT + place * slot + slot * 0.1
        parts.append(_text(start + slot * 0.4, HEIGHT - 10, label, "middle"))
        for index, (group, colour) in enumerate(
            zip(groups.values(), _colours(len(groups)), strict=True)
        ):
            y = _y(group.get(label, 0.0), top)
            parts.append(
                f'<rect x="{start + index * thick:.1f}" y="{y:.1f}" width="{thick * 0.9:.1f}" '
                f'height="{HEIGHT - _BOTTOM - y:.1f}" fill="{colour}"/>'
            )
    return _svg(parts)


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, sans-serif" font-size="10">' + "".join(parts) + "</svg>"
    )


def _grid(top: float) -> str:
    parts = []
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        parts.append(_rule(y))
        parts.append(_text(_LEFT - 6, y + 4, f"{value:,.4g}", "end"))
    return "".join(parts)


def _rule(y: float) -> str:
    return f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'


def _legend(names: Sequence[str]) -> str:
    parts = []
    for index, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
        x = _LEFT + index * 110
        parts.append(f'<rect x="{x}" y="4" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 14, 13, name, "start"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(value: float, right: float) -> float:
    return _LEFT + value / right * (WIDTH - _LEFT - _RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - value / top * (HEIGHT - _TOP - _BOTTOM)


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
