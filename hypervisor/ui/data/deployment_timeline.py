"""A deployment's states and runs over time, as a drawing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Event

RUNS_SHOWN = 50
"""The number of latest runs that are drawn and listed."""

_THINNEST = 0.35
_DRAWN_STATES = {"pending", "starting", "running", "stopping"}


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time in a row: its begin and its width, in percent of the whole."""

    x: float
    width: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in a row, in percent of the whole."""

    x: float
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    cluster: int | None
    spans: Sequence[Span]
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows over one span of time: the states first, then one row for each cluster."""

    rows: Sequence[Row]
    ticks: Sequence[datetime]


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: datetime
    end: datetime

    def x(self, moment: datetime) -> float:
        share = (moment - self.begin) / max(self.end - self.begin, timedelta(seconds=1))
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def span(self, begin: datetime, end: datetime, kind: str, title: str) -> Span:
        x = min(self.x(begin), 100 - _THINNEST)
        return Span(x, max(round(self.x(end) - x, 2), _THINNEST), kind, title)

    @property
    def ticks(self) -> list[datetime]:
        """Return moments at equal distances, few enough that no two are in the same second."""
        length = self.end - self.begin
        parts = next((n for n in (4, 2) if length / n >= timedelta(seconds=1)), 1)
        return [self.begin + length / parts * number for number in range(parts + 1)]


def draw(
    deployment: Deployment, runs: Sequence[Run], events: Sequence[Event], now: datetime
) -> Timeline:
    """Draw the states from the events, and the runs; both are given from the oldest on.

    The drawing begins with the submission, or with the first run if `RUNS_SHOWN` are given.
    """
    begin = runs[0].placed_at if len(runs) == RUNS_SHOWN else deployment.created_at
    ended = [run.ended_at for run in runs if run.ended_at]
    end = max([deployment.finished_at, *ended]) if deployment.finished_at else now
    scale = _Scale(begin, max(end, begin + timedelta(seconds=1)))
    states = Row("State", None, list(_states(events, scale)), list(_checkpoints(events, scale)))
    return Timeline(rows=[states, *_clusters(runs, scale)], ticks=scale.ticks)


def _states(events: Iterable[Event], scale: _Scale) -> Iterator[Span]:
    """Yield the spans of each state, except the ended ones; pending on hold is a state itself."""
    status, held, changes = "", False, []
    for event in events:
        status = event.status or status
        held = event.kind == "held" or (held and event.kind != "released")
        changes.append((event.time, "held" if held and status == "pending" else status))
    for (begin, state), (end, _next) in pairwise([*changes, (scale.end, "")]):
        if state in _DRAWN_STATES | {"held"} and end > scale.begin:
            begin = max(begin, scale.begin)
            name = "on hold" if state == "held" else state
            yield scale.span(begin, end, state, f"{name}, {_times(begin, end)}")


def _checkpoints(events: Iterable[Event], scale: _Scale) -> Iterator[Mark]:
    for event in events:
        if event.kind == "checkpoint" and event.time >= scale.begin:
            yield Mark(scale.x(event.time), f"checkpoint at {event.time:%Y-%m-%d %H:%M:%S}")


def _clusters(runs: Sequence[Run], scale: _Scale) -> Iterator[Row]:
    """Yield a row for each cluster, in the order of the first runs."""
    rows: dict[int | None, list[Run]] = {}
    for run in runs:
        rows.setdefault(run.cluster_id, []).append(run)
    for cluster_id, there in rows.items():
        label = there[0].cluster.name if there[0].cluster else "deleted cluster"
        spans = [span for run in there for span in _phases(run, scale)]
        yield Row(label, cluster_id, spans)


def _phases(run: Run, scale: _Scale) -> Iterator[Span]:
    """Yield a run's phases: until its container started, while it ran, until it had stopped."""
    released = run.released_at or scale.end
    started = min(run.started_at or released, released)
    steps = [
        ("starting", run.placed_at, started),
        ("running", started, released),
        ("ending", released, (run.ended_at or scale.end) if run.launched_at else released),
    ]
    for kind, begin, end in steps:
        if end > begin:
            yield scale.span(begin, end, kind, f"run {run.pk} {kind}, {_times(begin, end)}")


def _times(begin: datetime, end: datetime) -> str:
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S}"
