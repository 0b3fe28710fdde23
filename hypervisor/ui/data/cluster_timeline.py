"""One cluster's runs over time, as a drawing: bars in rows, and links from victims to preemptors.

This is only geometry, in units of the drawing; times are Unix seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

WIDTH = 1200.0
USAGE_HEIGHT = 56.0
ROW_HEIGHT = 22.0
BAR_HEIGHT = 16.0
_TOP = USAGE_HEIGHT + 28.0
_NARROWEST = 2.0
_LETTER = 6.6
_BEND = 24.0
_TICK_SECONDS = (60, 300, 600, 1800, 3600, 2 * 3600, 4 * 3600, 12 * 3600, 24 * 3600)
_TICKS = 8


def band_of(priority: int) -> str:
    """Return the third of the priorities to which this one belongs, by which pages colour it."""
    return ("low", "middle", "high")[min((priority - 1) // 33, 2)]


@dataclass(frozen=True, slots=True)
class Stay:
    """One run: allocated from `placed` to `released`, with a container until `ended`.

    None means not yet. `amount` is its request of the resource whose allocation is drawn.
    `preemptor` is the deployment that it was preempted for.
    """

    run: int
    deployment: int
    name: str
    priority: int
    amount: int
    placed: float
    released: float | None
    ended: float | None
    outcome: str
    preemptor: int | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A stay in the drawing; its tail is the time while its container was stopping."""

    stay: Stay
    row: int
    x: float
    width: float
    tail: float

    @property
    def y(self) -> float:
        return _TOP + self.row * ROW_HEIGHT

    @property
    def middle(self) -> float:
        return self.y + BAR_HEIGHT / 2

    @property
    def end(self) -> float:
        return self.x + self.width

    @property
    def cap(self) -> float:
        """Return the x at which the mark of the end begins."""
        return max(self.end - 4, self.x)

    @property
    def text_x(self) -> float:
        return self.x + 4

    @property
    def text_y(self) -> float:
        return self.y + 12

    @property
    def band(self) -> str:
        return band_of(self.stay.priority)

    @property
    def label(self) -> str:
        """Return as much of the name as fits into the bar."""
        letters = int((self.width - 8) / _LETTER)
        if letters >= len(self.stay.name):
            return self.stay.name
        return f"{self.stay.name[: letters - 1]}…" if letters > 4 else ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link from a victim's end to its preemptor's start."""

    victim: Bar
    preemptor: Bar

    @property
    def path(self) -> str:
        x, y = self.victim.end, self.victim.middle
        to_x, to_y = self.preemptor.x, self.preemptor.middle
        bent = f"{x + _BEND:.1f} {y:.1f} {to_x - _BEND:.1f} {to_y:.1f}"
        return f"M{x:.1f} {y:.1f}C{bent} {to_x:.1f} {to_y:.1f}"

    @property
    def tip(self) -> str:
        x, y = self.preemptor.x, self.preemptor.middle
        return f"{x - 6:.1f},{y - 3.5:.1f} {x:.1f},{y:.1f} {x - 6:.1f},{y + 3.5:.1f}"


@dataclass(frozen=True)
class Timeline:
    """The stays between `start` and `end`; the `limit` longest in view are drawn."""

    stays: Sequence[Stay]
    start: float
    end: float
    capacity: int
    limit: int = 200
    bars: list[Bar] = field(init=False)
    links: list[Link] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bars", self._place())
        object.__setattr__(self, "links", list(self._link()))

    @property
    def not_drawn(self) -> int:
        return len(self.stays) - len(self.bars)

    @property
    def height(self) -> float:
        rows = max((bar.row for bar in self.bars), default=-1) + 1
        return _TOP + max(rows, 1) * ROW_HEIGHT

    @property
    def view_box(self) -> str:
        return f"0 0 {WIDTH:g} {self.height:g}"

    @property
    def ticks(self) -> list[tuple[float, float]]:
        """Return round times to write above the bars, each with its position."""
        span = self.end - self.start
        step = next((s for s in _TICK_SECONDS if span / s <= _TICKS), _TICK_SECONDS[-1])
        first = int(self.start // step + 1) * step
        times = range(first, int(self.end) + 1, step)
        return [(self._x(time), float(time)) for time in times if self._x(time) < WIDTH - 30]

    @property
    def usage(self) -> str:
        """Return path data of the allocation over time, as an area with steps."""
        changes: dict[float, int] = {}
        for stay in self.stays:
            begin = max(stay.placed, self.start)
            changes[begin] = changes.get(begin, 0) + stay.amount
            if stay.released is not None and stay.released < self.end:
                changes[stay.released] = changes.get(stay.released, 0) - stay.amount
        allocated, parts = 0, [f"M0 {USAGE_HEIGHT}"]
        for time in sorted(changes):
            x = self._x(time)
            parts.append(f"L{x:.1f} {self._level(allocated):.1f}")
            allocated += changes[time]
            parts.append(f"L{x:.1f} {self._level(allocated):.1f}")
        parts.append(f"L{WIDTH:g} {self._level(allocated):.1f}L{WIDTH:g} {USAGE_HEIGHT}Z")
        return "".join(parts)

    def _level(self, allocated: int) -> float:
        share = allocated / self.capacity if self.capacity else 0
        return USAGE_HEIGHT * (1 - min(share, 1))

    def _x(self, time: float) -> float:
        share = (time - self.start) / (self.end - self.start)
        return WIDTH * min(max(share, 0), 1)

    def _time_in_view(self, stay: Stay) -> float:
        released = self.end if stay.released is None else min(stay.released, self.end)
        return released - max(stay.placed, self.start)

    def _place(self) -> list[Bar]:
        """Place each stay in the first row that is free for all of its time."""
        drawn = sorted(self.stays, key=lambda s: (-self._time_in_view(s), s.run))[: self.limit]
        free: list[int] = []
        busy: list[tuple[float, int]] = []
        bars = []
        for stay in sorted(drawn, key=lambda s: (s.placed, s.run)):
            x = self._x(stay.placed)
            while busy and busy[0][0] <= x:
                heappush(free, heappop(busy)[1])
            row = heappop(free) if free else len(busy)
            end = self._x(self.end if stay.released is None else stay.released)
            end = max(end, x + _NARROWEST)
            tail = 0.0
            if stay.released is not None:
                tail = max(self._x(self.end if stay.ended is None else stay.ended) - end, 0)
            heappush(busy, (end, row))
            bars.append(Bar(stay, row, x, end - x, tail))
        return bars

    def _link(self) -> Iterator[Link]:
        """Link each victim with the first start of its preemptor after the eviction."""
        starts: dict[int, list[Bar]] = {}
        for bar in self.bars:
            starts.setdefault(bar.stay.deployment, []).append(bar)
        for bar in self.bars:
            stay = bar.stay
            if stay.preemptor is not None and stay.released is not None:
                after = [
                    other
                    for other in starts.get(stay.preemptor, [])
                    if other.stay.placed >= stay.released
                ]
                if after:
                    yield Link(bar, after[0])
