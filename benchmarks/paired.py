"""Compare policies in pairs: geometric means over cells, and the spread of the ratios.

Some figures, such as waits, are zero in some cells, where a ratio has no meaning and a geometric
mean would be zero. So each figure has a constant that is added to it before: 60 s to a wait, for
example, so that 0 s and 20 s differ by a third, not infinitely. A geometric mean has the constant
subtracted again. Figures that are never zero have none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

from scheduling.simulation.metrics import Summary, quantile
from scheduling.simulation.scatter import Point

_PERCENTILES = {"min": 0, "10th": 10, "median": 50, "90th": 90, "max": 100}
SPREAD = ("ratio", *_PERCENTILES)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a replay.

    `of` returns None if the replay does not have it. `added` is the constant of the module's
    docstring, in the unit of the figure; `digits` are printed after the point.
    """

    name: str
    of: Callable[[Summary], float | None]
    added: float = 0.0
    digits: int = 0

    @property
    def heading(self) -> str:
        return f"{self.name} (+{self.added:g})" if self.added else self.name

    def text(self, value: float | None) -> str:
        return "-" if value is None else f"{value:,.{self.digits}f}"

    def mean(self, summaries: Iterable[Summary]) -> float | None:
        """Return the geometric mean over the replays that have the figure."""
        mean = _geometric([self._shifted(summary) for summary in summaries])
        return None if mean is None else max(mean - self.added, 0.0)

    def ratios(self, pairs: Iterable[tuple[Summary, Summary]]) -> list[float]:
        """Return the first of each pair divided by the second, for pairs that have the figure."""
        both = [(self._shifted(one), self._shifted(other)) for one, other in pairs]
        return [one / other for one, other in both if one is not None and other]

    def _shifted(self, summary: Summary) -> float | None:
        value = self.of(summary)
        return None if value is None else value + self.added


def figures(summaries: Iterable[Summary]) -> Iterator[Figure]:
    """Yield the figures, with one for the wait of each priority that occurs in the replays."""
    yield Figure("goodput", lambda s: s.goodput, 0, 3)
    yield Figure("mean wait, s", lambda s: s.wait_mean, 60)
    priorities = {level.priority for summary in summaries for level in summary.levels}
    for priority in sorted(priorities, reverse=True):
        yield Figure(f"mean wait of priority {priority}, s", _WaitOf(priority), 60)
    yield Figure("bounded slowdown", lambda s: s.slowdown, 0, 2)
    yield Figure("longest wait, s", lambda s: s.longest_wait, 60)
    yield Figure("mean wait of the largest 1%, s", lambda s: s.biggest_mean, 60)
    yield Figure("longest wait of the largest 1%, s", lambda s: s.biggest_wait, 60)
    yield Figure("GPU utilisation, %", lambda s: 100 * s.utilisation["gpu"], 1, 1)
    yield Figure("evictions", lambda s: s.evictions, 1, 1)
    yield Figure("lost work, h", lambda s: s.lost_hours, 0.1, 2)
    yield Figure("starts out of order", lambda s: s.out_of_order, 1, 1)
    yield Figure("idle by reservations, %", lambda s: 100 * s.idle_by_reservations, 0.1, 2)


@dataclass(frozen=True, slots=True)
class _WaitOf:
    priority: int

    def __call__(self, summary: Summary) -> float | None:
        waits = (row.wait_mean for row in summary.levels if row.priority == self.priority)
        return next(waits, None)


def levels_out_of_order(summary: Summary) -> int:
    """Return how many levels wait longer, on average, than the next lower level of the replay."""
    return sum(high.wait_mean > low.wait_mean for high, low in pairwise(summary.levels))


def spread(ratios: Sequence[float]) -> list[float]:
    """Return the geometric mean of the ratios and their percentiles, in the order of `SPREAD`."""
    ordered = sorted(ratios)
    mean = _geometric(ordered) or 0.0
    return [mean, *(quantile(ordered, percent) for percent in _PERCENTILES.values())]


def mean_rows(results: Mapping[str, Sequence[Summary]]) -> Iterator[list[str]]:
    """Yield a heading and a row for each figure, with a column for each policy.

    The last row counts the levels out of order in all cells.
    """
    yield ["geometric mean over the cells", *results]
    for figure in figures(_all(results)):
        yield [figure.heading, *(figure.text(figure.mean(rows)) for rows in results.values())]
    pairs = sum(max(len(summary.levels) - 1, 0) for summary in next(iter(results.values())))
    counts = [sum(map(levels_out_of_order, rows)) for rows in results.values()]
    yield [f"levels out of order, of {pairs}", *map(str, counts)]


def spread_rows(results: Mapping[str, Sequence[Summary]], base: str) -> Iterator[list[str]]:
    """Yield a heading, and for each figure and policy the spread of its ratio to the base."""
    yield [f"divided by {base}, paired by cell", *SPREAD]
    for figure in figures(_all(results)):
        yield [figure.heading, *[""] * len(SPREAD)]
        for name, rows in results.items():
            ratios = figure.ratios(zip(rows, results[base], strict=True))
            if name != base and ratios:
                yield [f"  {name}", *(f"{value:.3f}" for value in spread(ratios))]


def group_rows(
    results: Mapping[str, Sequence[Summary]], base: str, groups: Sequence[str]
) -> Iterator[list[str]]:
    """Yield a heading, and for each figure and policy the mean ratio in each group of cells.

    `groups` has the group of each cell.
    """
    names = list(dict.fromkeys(groups))
    yield [f"divided by {base}, geometric means", *names]
    for figure in figures(_all(results)):
        yield [figure.heading, *[""] * len(names)]
        for policy, rows in results.items():
            if policy != base:
                pairs = list(zip(rows, results[base], groups, strict=True))
                ratios = [
                    figure.ratios((one, other) for one, other, group in pairs if group == name)
                    for name in names
                ]
                yield [f"  {policy}", *(f"{spread(r)[0]:.3f}" if r else "-" for r in ratios)]


def frontier(results: Mapping[str, Sequence[Summary]], groups: Sequence[str]) -> list[Point]:
    """Return a point for each policy in each group: the wait of the lowest level, and goodput.

    Both are geometric means over the cells. `groups` has the group of each cell.
    """
    lowest = Figure("wait of the lowest level, s", lambda s: s.levels[-1].wait_mean, 60)
    goodput = Figure("goodput", lambda s: s.goodput)
    points = []
    for group in dict.fromkeys(groups):
        for name, rows in results.items():
            members = [row for row, other in zip(rows, groups, strict=True) if other == group]
            points.append(
                Point(group, name, lowest.mean(members) or 0.0, goodput.mean(members) or 0.0)
            )
    return points


def _all(results: Mapping[str, Sequence[Summary]]) -> list[Summary]:
    return [summary for rows in results.values() for summary in rows]


def _geometric(values: Iterable[float | None]) -> float | None:
    """Return the geometric mean of the values that exist; 0 if one of them is 0."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return exp(sum(map(log, known)) / len(known)) if min(known) > 0 else 0.0
