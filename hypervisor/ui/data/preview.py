"""The consequences of an action, as its page shows them before it is confirmed."""

from collections.abc import Iterator
from dataclasses import dataclass

from deployments.models import Deployment
from scheduling.insight.preview import Loss, Preview
from scheduling.planner.compare import Consequence, Kind

_SHOWN = 100
"""The number of lines shown of each kind; the others are counted."""


@dataclass(frozen=True, slots=True)
class Line:
    """One consequence, with names instead of ids."""

    row: Consequence
    name: str
    source: str
    target: str
    for_name: str
    loss: Loss | None

    @property
    def lost_s(self) -> float:
        return self.loss.seconds if self.loss else 0


@dataclass(frozen=True, slots=True)
class Section:
    """The consequences of one kind for deployments other than the subjects, the first ones only.

    Those that lose the most run time come first. `loses` says whether any loses some.
    """

    kind: Kind
    title: str
    lines: list[Line]
    count: int
    loses: bool

    @property
    def not_shown(self) -> int:
        return self.count - len(self.lines)


_TITLES = {
    Kind.EVICTED: "Would be evicted",
    Kind.MOVES: "Would move",
    Kind.RESTARTS: "Would restart on the same node",
    Kind.WAITS: "Would wait",
    Kind.STAYS: "Would keep their place",
    Kind.STARTS: "Would start",
}


def _line(preview: Preview, row: Consequence) -> Line:
    return Line(
        row,
        preview.names.get(row.deployment, f"deployment {row.deployment}"),
        preview.places.name(row.source, row.source_node),
        preview.places.name(row.target, row.target_node),
        preview.names.get(row.for_ or 0, ""),
        preview.losses.get(row.deployment),
    )


def own_lines(preview: Preview) -> Iterator[tuple[int, Line]]:
    """Yield the consequences for the subjects themselves, by id."""
    if preview.change.action.model is Deployment:
        for row in preview.consequences:
            if row.deployment in preview.change.subjects:
                yield row.deployment, _line(preview, row)


def sections(preview: Preview) -> Iterator[Section]:
    own = dict(own_lines(preview))
    for kind, title in _TITLES.items():
        rows = [r for r in preview.consequences if r.kind == kind and r.deployment not in own]
        if rows:
            lines = [_line(preview, row) for row in rows]
            lines.sort(key=lambda line: (-line.lost_s, -line.row.priority, line.row.deployment))
            yield Section(kind, title, lines[:_SHOWN], len(rows), any(line.loss for line in lines))


def figures(preview: Preview) -> dict[str, int]:
    """Count the deployments that lose, change or get their place, or start to wait."""
    rows = preview.consequences
    lose = (Kind.EVICTED, Kind.WITHDRAWN, Kind.WAITS)
    return {
        "lose": sum(r.kind in lose and r.source is not None for r in rows),
        "move": sum(r.kind in (Kind.MOVES, Kind.RESTARTS) for r in rows),
        "start": sum(r.kind == Kind.STARTS for r in rows),
        "wait": sum(r.kind == Kind.WAITS and r.source is None for r in rows),
    }
