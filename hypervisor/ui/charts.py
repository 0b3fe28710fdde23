"""The geometry of bars and of plots over time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, floor, log10

WIDTH, HEIGHT = 600, 120
"""Size of the drawing, which is scaled to the page; texts are outside it and are not scaled."""

_ROWS = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of a capacity is allocated and reserved; the rest is free.

    `texts` are allocated, reserved, free and capacity, formatted; `unit` follows them.
    """

    label: str
    allocated: float
    reserved: float
    capacity: float
    texts: tuple[str, str, str, str]
    unit: str = ""

    @property
    def allocated_percent(self) -> float:
        return self._percent(self.allocated)

    @property
    def reserved_percent(self) -> float:
        return min(self._percent(self.reserved), 100 - self.allocated_percent)

    def _percent(self, amount: float) -> float:
        return round(min(100 * amount / self.capacity, 100), 2) if self.capacity else 0.0


@dataclass(frozen=True, slots=True)
class Series:
    """Values in the order of their times; None where there is no sample.

    `tone` is the class of its colour and stroke in the stylesheet.
    """

    name: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Plot:
    """Series over the same times, as lines, or as areas on top of each other.

    `limit`, such as a capacity, is drawn as a horizontal line; `limit_name` is what it is.
    """

    title: str
    times: Sequence[datetime]
    series: Sequence[Series]
    unit: str = ""
    stacked: bool = False
    limit: float | None = None
    limit_name: str = "capacity"
    span: timedelta | None = None
    paths: list["Path"] = field(init=False)
    top: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", _nice(self._highest()))
        object.__setattr__(self, "paths", list(self._draw()))

    @property
    def view_box(self) -> str:
        return f"0 0 {WIDTH} {HEIGHT}"

    @property
    def is_empty(self) -> bool:
        return all(value is None for series in self.series for value in series.values)

    @property
    def limit_y(self) -> float | None:
        return None if self.limit is None else self._y(self.limit)

    @property
    def grid(self) -> list[float]:
        return [HEIGHT * part / 4 for part in (1, 2, 3)]

    @property
    def ticks(self) -> list[datetime]:
        """Return the times written below the plot: the first, the middle and the last."""
        first, last = self._bounds()
        return [first, first + (last - first) / 2, last]

    @property
    def time_format(self) -> str:
        first, last = self._bounds()
        return "H:i" if last - first <= timedelta(days=1) else "D H:i"

    @property
    def latest(self) -> list[tuple[Series, float | None]]:
        return [(series, _last(series.values)) for series in self.series]

    @property
    def rows(self) -> list[tuple[datetime, list[float | None]]]:
        """Return the plot as a short table, the newest row first."""
        step = max(ceil(len(self.times) / _ROWS), 1)
        picked = range(len(self.times) - 1, -1, -step)
        return [(self.times[i], [series.values[i] for series in self.series]) for i in picked]

    def _bounds(self) -> tuple[datetime, datetime]:
        last = self.times[-1]
        return (last - self.span if self.span else self.times[0]), last

    def _highest(self) -> float:
        columns = zip(*(series.values for series in self.series), strict=True)
        join = sum if self.stacked else max
        tops = [float(join(value or 0 for value in column)) for column in columns]
        return max([*tops, self.limit or 0.0, 0.0])

    def _draw(self) -> Iterator["Path"]:
        base: list[float] = [0.0] * len(self.times)
        x = self._positions()
        for series in self.series:
            line, area = [], []
            for run in _stretches(self._visible(series)):
                points = [(x[i], self._y(base[i] + (series.values[i] or 0))) for i in run]
                below = [(x[i], self._y(base[i])) for i in reversed(run)]
                line.append(_polyline(points))
                area.append(f"{_polyline([*points, *below])}Z")
            if self.stacked:
                base = [b + (v or 0) for b, v in zip(base, series.values, strict=True)]
            yield Path(series, "".join(line), "".join(area) if self.stacked else "")

    def _visible(self, series: Series) -> Sequence[float | None]:
        """Return None where a stacked series is zero: it would hide the series below it."""
        values = series.values
        if not self.stacked or series is self.series[0]:
            return values
        around = [any(values[max(i - 1, 0) : i + 2]) for i in range(len(values))]
        return [value if near else None for value, near in zip(values, around, strict=True)]

    def _positions(self) -> list[float]:
        """Return how far to the right each time is."""
        first, last = self._bounds()
        seconds = (last - first).total_seconds()
        after = [(time - first).total_seconds() for time in self.times]
        return [WIDTH * each / seconds if seconds else 0.0 for each in after]

    def _y(self, value: float) -> float:
        return HEIGHT - HEIGHT * value / self.top


@dataclass(frozen=True, slots=True)
class Path:
    """A series as SVG path data."""

    series: Series
    line: str
    area: str


def _stretches(values: Sequence[float | None]) -> Iterator[list[int]]:
    """Yield the indexes of each stretch of values without a gap."""
    stretch: list[int] = []
    for index, value in enumerate(values):
        if value is not None:
            stretch.append(index)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return path data; a single point becomes a visible dash."""
    if len(points) == 1:
        ((x, y),) = points
        points = [(x - 1, y), (x + 1, y)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _last(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _nice(value: float) -> float:
    """Return the next number with one digit, or one and a half."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(n * power for n in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if n * power >= value - 1e-9)
