"""The parts of plots: SVG elements, positions on the canvas, round numbers on an axis."""

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 760, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 14, 28, 36
COLOURS = ("#3b82f6", "#ef4444", "#10b981", "#f59e0b", "#8b5cf6", "#06b6d4")


def canvas(parts: Sequence[str], label: str, *, height: int = HEIGHT, style: str = "") -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(label)}" font-family="system-ui, sans-serif" font-size="11">'
        f"{style}{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str = "#8885", width: float = 1
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-linecap="round"/>'
    )


def dot(x: float, y: float, colour: str, title: str, radius: float = 4) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">'
        f"<title>{escape(title)}</title></circle>"
    )


def legend(names: Sequence[str]) -> str:
    parts = []
    for index, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
        x = LEFT + index * 110
        parts.append(f'<rect x="{x}" y="4" width="10" height="10" rx="2" fill="{colour}"/>')
        parts.append(text(x + 15, 13, name))
    return "".join(parts)


def across(part: float) -> float:
    """Return the x coordinate of a fraction of the plot's width."""
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def upwards(part: float, height: int = HEIGHT) -> float:
    return height - BOTTOM - part * (height - TOP - BOTTOM)


def colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def round_ticks(top: float, most: int = 5) -> list[float]:
    """Return round numbers in equal steps from 0; the last is at least `top`."""
    rough = max(top, 1e-9) / most
    size = 10 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
    return [step * n for n in range(math.ceil(max(top, step) / step - 1e-9) + 1)]


def number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}".rstrip("0")


def duration(seconds: float) -> str:
    """Return a duration with a suitable unit, such as `40 s`, `12 min`, `3.5 h` or `8.1 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
