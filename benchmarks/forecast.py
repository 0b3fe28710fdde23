"""How far forecasts of starts are off: workloads are replayed, and what was forecast is compared.

At moments of a replay, each waiting deployment is asked when it will start; the error is how far
that is from when it starts then, relative to the wait that is left. A method knows at each moment
only what has happened by then.
"""

from argparse import ArgumentParser, ArgumentTypeError
from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean, median
from typing import Any

from django.core.management.base import CommandError

from benchmarks.cells import Cell, make_cells
from benchmarks.over_time import add_workload
from scheduling.management.cluster_option import numbered
from scheduling.planner.forecast import Forecasts, RunTime
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.run_times import LATEST, PastRunTimes, at_most
from scheduling.planner.snapshot import Deployment, Snapshot
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.metrics import quantile
from scheduling.simulation.table import aligned
from scheduling.simulation.trace import Job

_EVERY_S = 1800
"""How many seconds of simulated time lie between two moments at least."""

_SHORTEST_S = 60
"""A shorter wait counts as this long, so that seconds do not dominate the relative errors."""

_RECENT = 50
"""How many waits the median of recent waits is of."""

_LIMITS_H = (0.25, 0.5, 1, 2, 4, 8, 12, 24, 48, 96, 168, 336, 720, 2160)
"""The values that people choose as a limit, in hours."""

_LEAST = 20
"""A cell with fewer forecasts by a method does not count for it."""

_GROWTH = tuple(60 * minutes for minutes in (1, 5, 15, 30, 60, 120, 300, 600, 1200, 3000, 6000))

EXPECTED, BY = "expected", "by"
LAST_TWO, SIMILAR, WAITS, KNOWN = (
    "mean of the last two", "of the same request", "median of recent waits", "run times known",
)  # fmt: skip
METHODS = (EXPECTED, BY, LAST_TWO, SIMILAR, WAITS, KNOWN)


@dataclass(frozen=True, slots=True)
class Asked:
    """The wait that was left of a deployment at a moment, in seconds, and what each method said."""

    left: int
    said: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares are from 0 to 1. `forecasts` is how often there was one; errors are relative to the
    wait that was left. `later` is how often the start was later.
    """

    forecasts: float
    error_median: float
    error_p90: float
    within_quarter: float
    within_double: float
    later: float


class Observer:
    """The planner as a policy, which asks each method at moments of the replay.

    `limits` has the `max_runtime_s` of the jobs that state one.
    """

    def __init__(self, jobs: Sequence[Job], limits: Mapping[int, int]) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._limits = limits
        self._next_at = 0
        self._said: list[tuple[int, int, dict[str, int | None]]] = []
        self._starts: dict[int, list[int]] = defaultdict(list)
        self._waits: list[int] = []
        self._running: dict[int, int] = {}
        self._ended: dict[object, list[tuple[int, int]]] = defaultdict(list)

    def decide(self, snapshot: Snapshot) -> Plan:
        rows = [replace(d, max_runtime_s=self._limits.get(d.id)) for d in snapshot.deployments]
        snapshot = replace(snapshot, deployments=tuple(rows), is_checked=True)
        self._note_ends(snapshot.now)
        plan = make_plan(snapshot)
        if snapshot.now >= self._next_at and len(plan.served) > len(plan.placements):
            self._next_at = snapshot.now + _EVERY_S
            self._ask(snapshot, plan)
        self._note_starts(snapshot.now, plan)
        return plan

    def asked(self) -> Iterator[Asked]:
        """Yield what was said and came of it, without deployments that did not start later."""
        for pk, moment, said in self._said:
            starts = self._starts[pk]
            later = bisect_right(starts, moment)
            if later < len(starts):
                yield Asked(starts[later] - moment, said)

    def _note_ends(self, now: int) -> None:
        for pk, since in list(self._running.items()):
            job = self._jobs[pk]
            if since + job.duration <= now:
                del self._running[pk]
                for key in (job.tenant, (job.tenant, job.request)):
                    insort(self._ended[key], (since + job.duration, job.duration))

    def _note_starts(self, now: int, plan: Plan) -> None:
        for eviction in plan.evictions:
            self._running.pop(eviction.deployment, None)
        for move in plan.moves:
            self._running[move.deployment] = now
        for pk in [placement.deployment for placement in plan.placements]:
            self._running[pk] = now
            self._starts[pk].append(now)
            if now > self._jobs[pk].submit:
                self._waits.append(now - self._jobs[pk].submit)

    def _ask(self, snapshot: Snapshot, plan: Plan) -> None:
        now, rows = snapshot.now, {d.id: d for d in snapshot.deployments}
        active = [d for d in rows.values() if d.cluster is not None]
        found = {
            name: Forecasts(snapshot, plan, active, rows.__getitem__, run_time)
            for name, run_time in self._run_times().items()
        }
        usual = round(median(self._waits[-_RECENT:])) if self._waits else None
        starting = {placement.deployment for placement in plan.placements}
        for pk in plan.served:
            if pk not in starting:
                starts = {name: each.of(pk).starts_at for name, each in found.items()}
                said = {n: None if at is None else at - now for n, at in starts.items()}
                waited = now - self._jobs[pk].submit
                said[WAITS] = None if usual is None else max(usual - waited, 0)
                self._said.append((pk, now, said))

    def _run_times(self) -> dict[str, RunTime]:
        def expected(d: Deployment, elapsed: int) -> int | None:
            past = PastRunTimes(self._latest(self._jobs[d.id].tenant, LATEST))
            return past.expected(d.max_runtime_s, elapsed)

        def similar(d: Deployment, elapsed: int) -> int | None:
            job = self._jobs[d.id]
            past = PastRunTimes(self._latest((job.tenant, job.request), LATEST))
            return past.expected(d.max_runtime_s, elapsed)

        def last_two(d: Deployment, elapsed: int) -> int | None:
            latest = self._latest(self._jobs[d.id].tenant, 2)
            return mean_of(latest, d.max_runtime_s, elapsed)

        return {
            EXPECTED: expected,
            BY: lambda d, elapsed: at_most(d.max_runtime_s, elapsed),
            LAST_TWO: last_two,
            SIMILAR: similar,
            KNOWN: lambda d, _: self._jobs[d.id].duration,
        }

    def _latest(self, key: object, number: int) -> list[int]:
        return [duration for _, duration in self._ended.get(key, ())[-number:]]


def mean_of(latest: Sequence[int], limit: int | None, elapsed: int) -> int | None:
    """Return the run time in seconds that Tsafrir, Etsion and Feitelson (2007) expect: the mean of
    the latest, which grows by fixed amounts while the deployment runs for longer.
    """
    longest = at_most(limit, elapsed)
    if not latest:
        return longest
    growth, expected = iter(_GROWTH), max(round(fmean(latest)), 1)
    while expected <= elapsed:
        expected += next(growth, _GROWTH[-1])
    return expected if longest is None else min(expected, longest)


def limits(jobs: Sequence[Job], share: float, seed: int) -> dict[int, int]:
    """Return the limits, in seconds, of this share of the jobs: up to five times the run time,
    rounded up to a usual value.
    """
    random, found = Random(seed), {}  # noqa: S311 - reproducible, not secret
    usual = [int(3600 * hours) for hours in _LIMITS_H]
    for job in jobs:
        wanted, has_one = int(job.duration * random.uniform(1, 5)), random.random() < share
        if has_one:
            found[job.id] = next((limit for limit in usual if limit >= wanted), wanted)
    return found


def figures(asked: Sequence[Asked], method: str) -> Figures | None:
    """Return the figures of a method, None if it made too few forecasts."""
    pairs = [
        (max(said, _SHORTEST_S), max(each.left, _SHORTEST_S))
        for each in asked
        if (said := each.said[method]) is not None
    ]
    if len(pairs) < _LEAST:
        return None
    errors = sorted(abs(said - left) / left for said, left in pairs)
    return Figures(
        len(pairs) / len(asked),
        quantile(errors, 50),
        quantile(errors, 90),
        fmean(error <= 0.25 for error in errors),
        fmean(max(pair) <= 2 * min(pair) for pair in pairs),
        fmean(left > said for said, left in pairs),
    )


def measure(cell: Cell, limited: float, seed: int) -> list[Asked]:
    """Replay the cell, in which a share of the jobs state a limit."""
    observer = Observer(cell.jobs, limits(cell.jobs, limited, seed))
    replay(cell.jobs, cell.clusters, observer.decide, Terms(), lambda _: None)
    return list(observer.asked())


def add_arguments(parser: ArgumentParser) -> None:
    add_workload(parser)
    parser.add_argument(
        "--limited", type=_share, default=0.5, help="the share of jobs with a max_runtime_s (0.5)"
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text}: give a number from 0 to 1.")
    return value


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    """Replay the workloads, and print the figures by trace. Raises CommandError."""
    clusters = numbered(options["cluster"]) if options["cluster"] else None
    found: dict[str, list[list[Asked]]] = defaultdict(list)
    try:
        for cell in make_cells(options, clusters):
            found[cell.trace].append(measure(cell, options["limited"], options["seed"]))
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    for trace, cells in found.items():
        waits = [each.left for asked in cells for each in asked]
        usual = f", the wait left is {median(waits):,.0f} s (median)" if waits else ""
        out("")
        out(f"{trace}: asked {len(waits):,} times in {len(cells)} cells{usual}")
        for line in aligned([_HEADING, *_rows(cells)]):
            out(line)


_HEADING = [
    "method", "forecasts, %", "error, median %", "error, p90 %", "within 25%, %",
    "within a factor 2, %", "starts later, %", "cells",
]  # fmt: skip


def _rows(cells: Sequence[Sequence[Asked]]) -> Iterator[list[str]]:
    """Yield a row for each method, with the means over the cells."""
    for method in METHODS:
        known = [each for asked in cells if (each := figures(asked, method))]
        if known:
            means = (fmean(column) for column in zip(*map(_values, known), strict=True))
            yield [method, *(f"{100 * mean:.0f}" for mean in means), str(len(known))]


def _values(row: Figures) -> tuple[float, ...]:
    return (
        row.forecasts, row.error_median, row.error_p90, row.within_quarter, row.within_double,
        row.later,
    )  # fmt: skip
