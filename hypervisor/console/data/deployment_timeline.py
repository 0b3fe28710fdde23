"""A deployment's life as something to look at: which state it was in when, and where it ran."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from deployments.models import Deployment, Run
from orgs.models import Event

RUNS_SHOWN = 50
"""So many of the latest runs are drawn and listed."""

_THINNEST = 0.35
_LIVELY = {"pending", "starting", "running", "stopping"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on a lane: where it begins and how wide it is, in percent of the whole."""

    x: float
    width: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on a lane, in percent of the whole."""

    x: float
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    label: str
    cluster: int | None
    spans: Sequence[Span]
    marks: Sequence[Mark] = ()


@dataclass(frozen=True, slots=True)
class Life:
    """Lanes over one span of time: the states first, then a lane for each cluster."""

    lanes: Sequence[Lane]
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


def draw(
    deployment: Deployment, runs: Sequence[Run], events: Iterable[Event], now: datetime
) -> Life:
    """Draw the runs, the oldest first, over the states that the events tell of, in their order.

    It begins with the submission, or when there are many runs with the first of those shown.
    """
    begin = runs[0].placed_at if len(runs) == RUNS_SHOWN else deployment.created_at
    ended = [run.ended_at for run in runs if run.ended_at]
    end = max([deployment.finished_at, *ended]) if deployment.finished_at else now
    scale = _Scale(begin, max(end, begin + timedelta(seconds=1)))
    told = list(events)
    states = Lane("State", None, list(_states(told, scale)), list(_checkpoints(told, scale)))
    step = (scale.end - scale.begin) / 4
    return Life(
        lanes=[states, *_clusters(runs, scale)],
        ticks=[scale.begin + step * number for number in range(5)],
    )


def _states(events: Iterable[Event], scale: _Scale) -> Iterator[Span]:
    """Yield the stretches of each state that is not an end, held ones apart."""
    status, held, turns = "", False, []
    for event in events:
        status = event.status or status
        held = event.kind == "held" or (held and event.kind != "released")
        turns.append((event.time, "held" if held and status == "pending" else status))
    for (begin, state), (end, _next) in pairwise([*turns, (scale.end, "")]):
        if state in _LIVELY | {"held"} and end > scale.begin:
            begin = max(begin, scale.begin)
            yield scale.span(begin, end, state, f"{state}, {_times(begin, end)}")


def _checkpoints(events: Iterable[Event], scale: _Scale) -> Iterator[Mark]:
    for event in events:
        if event.kind == "checkpoint" and event.time >= scale.begin:
            yield Mark(scale.x(event.time), f"checkpoint at {event.time:%Y-%m-%d %H:%M:%S}")


def _clusters(runs: Sequence[Run], scale: _Scale) -> Iterator[Lane]:
    """Yield a lane for each cluster, in the order in which it ran there first."""
    lanes: dict[int | None, list[Run]] = {}
    for run in runs:
        lanes.setdefault(run.cluster_id, []).append(run)
    for cluster_id, there in lanes.items():
        label = there[0].cluster.name if there[0].cluster else "a cluster that is gone"
        spans = [span for run in there for span in _phases(run, scale)]
        yield Lane(label, cluster_id, spans)


def _phases(run: Run, scale: _Scale) -> Iterator[Span]:
    """Yield how a run went: until its container started, while it ran, until it was gone."""
    released = run.released_at or scale.end
    started = min(run.started_at or released, released)
    steps = [
        ("starting", run.placed_at, started),
        ("running", started, released),
        ("leaving", released, (run.ended_at or scale.end) if run.launched_at else released),
    ]
    for kind, begin, end in steps:
        if end > begin:
            yield scale.span(begin, end, kind, f"run {run.pk} {kind}, {_times(begin, end)}")


def _times(begin: datetime, end: datetime) -> str:
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S}"
