"""Policies over time: the same workloads replayed with each, compared in pairs, with the spread.

`cells` makes the workloads, `stored_replays` keeps the figures, `paired` compares them.
"""

import csv
import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from benchmarks.cells import DEFAULT_LEVELS, DEFAULT_LOADS, Cell, make_cells, measure
from benchmarks.paired import (
    figures,
    frontier,
    group_rows,
    levels_out_of_order,
    mean_rows,
    spread_rows,
)
from benchmarks.stored_replays import Measured, StoredReplays
from benchmarks.suites import SUITES, Setting
from benchmarks.workload import DAY
from hypervisor.base.numbers import count
from scheduling.management.cluster_option import add_cluster, numbered
from scheduling.management.set_option import reader
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.simulation.engine import Terms
from scheduling.simulation.scatter import scatter
from scheduling.simulation.table import aligned

_GROUPS: Mapping[str, Callable[[Cell], str]] = {
    "trace": lambda cell: cell.trace,
    "load": lambda cell: f"load {cell.load_label}",
    "levels": lambda cell: f"levels {cell.levels}",
}
_Place = tuple[int, str]
"""The number of a cell and the name of a policy."""
_Results = Mapping[str, Sequence[Measured]]
"""For each policy, the figures of each cell, in the order of the cells."""


def add_arguments(parser: ArgumentParser) -> None:
    add_workload(parser)
    parser.add_argument(
        "--suite",
        choices=list(SUITES),
        default="rivals",
        help="the policies: the usual ones, or ours with one threshold changed (rivals)",
    )
    parser.add_argument(
        "--variant",
        type=_variant,
        action="append",
        default=[],
        metavar="NAME:FIELD=VALUE,…",
        help="another policy: the defaults with these thresholds, as in `simulate --set`; may be"
        " repeated",
    )
    parser.add_argument("--only", action="append", help="only policies that start with this")
    parser.add_argument(
        "--base", default="defaults", help="the policy that the others are divided by (defaults)"
    )
    parser.add_argument(
        "--processes", type=_positive, default=os.cpu_count(), help="processes (one per core)"
    )
    parser.add_argument(
        "--results", type=Path, help="store the figures in this file, and continue from it"
    )
    parser.add_argument(
        "--by",
        choices=list(_GROUPS),
        action="append",
        default=[],
        help="also print the ratios of each trace, load or kind of levels; may be repeated",
    )
    parser.add_argument("--cells", action="store_true", help="also print the figures of each cell")
    parser.add_argument("--csv", type=Path, help="write the figures of each cell to this file")
    parser.add_argument("--svg", type=Path, help="plot goodput and the wait of the lowest level")


def add_workload(parser: ArgumentParser) -> None:
    """Add the options that `make_cells` reads."""
    parser.add_argument(
        "--trace",
        type=Path,
        action="append",
        default=[],
        help="CSV as for `simulate`; may be repeated; default: generated, also with heavy tails",
    )
    parser.add_argument("--windows", type=_positive, default=4, help="windows of each trace (4)")
    parser.add_argument("--jobs", type=_positive, default=300, help="jobs of each window (300)")
    parser.add_argument(
        "--held-out", action="store_true", help="other windows, which share no job with the usual"
    )
    parser.add_argument(
        "--load",
        type=_share,
        action="append",
        help=f"requested share of the capacity; may be repeated ({_words(DEFAULT_LOADS)})",
    )
    parser.add_argument(
        "--direct",
        action="store_true",
        help="as submitted, without a load, on the clusters of --cluster; with --load: also so",
    )
    parser.add_argument(
        "--levels",
        choices=("trace", "even", "one"),
        action="append",
        help="as in the trace, four drawn evenly by the seed, or one for all; may be repeated"
        f" ({_words(DEFAULT_LEVELS)})",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of all that is random (1)")
    parser.add_argument("--gpus", type=int, default=24, help="GPUs of each of two clusters (24)")
    parser.add_argument(
        "--longest", type=_positive, default=DAY, help="longest duration with a load, s (a day)"
    )
    add_cluster(parser, required=False, about="one cluster, instead of the two")


def command(options: dict[str, Any], out: Callable[[str], Any]) -> None:
    """Measure what is not stored, and print the comparison. Raises CommandError."""
    settings = _chosen(options)
    if options["direct"] and not options["cluster"]:
        raise CommandError("--direct needs the clusters: --cluster cpu=64,ram=512Gi,gpu=8")
    clusters = numbered(options["cluster"]) if options["cluster"] else None
    try:
        cells = list(make_cells(options, clusters))
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error
    results = _measure(cells, settings, options, out)
    for line in _report(cells, results, options):
        out(line)
    if options["csv"]:
        _write_csv(options["csv"], cells, results)
    if options["svg"]:
        _plot(options["svg"], cells, results)


def _chosen(options: Mapping[str, Any]) -> list[Setting]:
    every = [*SUITES[options["suite"]](), *options["variant"]]
    names = [setting.name for setting in every]
    twice = [name for n, name in enumerate(names) if name in names[:n]]
    if twice:
        raise CommandError(f"--variant: the name {twice[0]} is taken; choose another one")
    if options["base"] not in names:
        raise CommandError(f"--base: {options['base']} is not one of {', '.join(names)}")
    wanted = tuple(options["only"] or names)
    return [s for s in every if s.name == options["base"] or s.name.startswith(wanted)]


def _measure(
    cells: Sequence[Cell],
    settings: Sequence[Setting],
    options: Mapping[str, Any],
    out: Callable[[str], Any],
) -> _Results:
    """Return the stored figures, and those of the missing replays, which are stored at once."""
    stored = StoredReplays(options["results"])
    pairs = {(n, s.name): (cell, s) for n, cell in enumerate(cells) for s in settings}
    found = {place: stored.find(*pair) for place, pair in pairs.items()}
    missing = {place: pairs[place] for place, measured in found.items() if measured is None}
    done: dict[_Place, Measured] = {place: known for place, known in found.items() if known}
    for number, (place, measured) in enumerate(_replays(missing, options["processes"]), 1):
        cell, setting = missing[place]
        stored.add(cell, setting, measured)
        done[place] = measured
        out(f"{number}/{len(missing)} {cell.label}: {setting.name}, {measured[1]:.1f} s")
    return {s.name: [done[n, s.name] for n in range(len(cells))] for s in settings}


def _replays(
    pairs: Mapping[_Place, tuple[Cell, Setting]], processes: int
) -> Iterator[tuple[_Place, Measured]]:
    """Yield the replays as they end."""
    if processes == 1:
        for place, pair in pairs.items():
            yield place, measure(*pair)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        running = {pool.submit(measure, *pair): place for place, pair in pairs.items()}
        for ended in as_completed(running):
            yield running[ended], ended.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _report(cells: Sequence[Cell], results: _Results, options: Mapping[str, Any]) -> Iterator[str]:
    summaries = {name: [summary for summary, _ in rows] for name, rows in results.items()}
    seconds = [f"{sum(s for _, s in rows) / len(rows):.2f}" for rows in results.values()]
    too_large = {(cell.trace, cell.first): cell.too_large for cell in cells}
    kind = "held-out windows" if options["held_out"] else "windows"
    yield ""
    yield f"{len(cells)} cells: {len(too_large)} {kind} of {options['jobs']} jobs,"
    yield "each at every load and with every kind of levels. The constant in brackets is added"
    yield "before a mean or a ratio is taken, so that zeros count; means have it subtracted again."
    if any(too_large.values()):
        yield f"{sum(too_large.values())} jobs are larger than any cluster and were left out."
    yield ""
    yield from aligned([*mean_rows(summaries), ["CPU seconds of a cell, mean", *seconds]])
    yield ""
    yield from aligned(list(spread_rows(summaries, options["base"])))
    for kind in options["by"]:
        groups = [_GROUPS[kind](cell) for cell in cells]
        yield ""
        yield from aligned(list(group_rows(summaries, options["base"], groups)))
    if options["cells"]:
        yield ""
        yield from aligned([_joined(row) for row in _cell_rows(cells, results)])


def _joined(row: Sequence[str]) -> list[str]:
    """Return the row with the columns that identify it in one."""
    return [", ".join(row[:5]), *row[5:]]


def _cell_rows(cells: Sequence[Cell], results: _Results) -> Iterator[list[str]]:
    """Yield a heading and a row for each cell and policy."""
    columns = list(figures([summary for rows in results.values() for summary, _ in rows]))
    names = [figure.name for figure in columns]
    yield ["trace", "from", "load", "levels", "policy", *names, "levels out of order", "CPU s"]
    for number, cell in enumerate(cells):
        for policy, rows in results.items():
            summary, seconds = rows[number]
            values = (figure.of(summary) for figure in columns)
            yield [
                cell.trace,
                str(cell.first),
                cell.load_label,
                cell.levels,
                policy,
                *("" if value is None else f"{value:.6g}" for value in values),
                str(levels_out_of_order(summary)),
                f"{seconds:.2f}",
            ]


def _write_csv(path: Path, cells: Sequence[Cell], results: _Results) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(_cell_rows(cells, results))


def _plot(path: Path, cells: Sequence[Cell], results: _Results) -> None:
    summaries = {name: [summary for summary, _ in rows] for name, rows in results.items()}
    points = frontier(summaries, [f"load {cell.load_label}" for cell in cells])
    x = "mean wait of the lowest level, seconds (logarithmic)"
    path.write_text(scatter(points, x, "goodput"), encoding="utf-8")


def _variant(text: str) -> Setting:
    name, colon, assignments = text.partition(":")
    if not name or not colon or not assignments:
        raise ArgumentTypeError(f"{text}: expected the form NAME:FIELD=VALUE,FIELD=VALUE")
    read = reader(Terms.thresholds())
    policy = Policy.from_mapping(dict(map(read, assignments.split(","))))
    return Setting(name, make_plan, Terms(policy))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < float("inf"):
        raise ArgumentTypeError(f"{text!r} is not a number above 0.")
    return share


def _positive(text: str) -> int:
    number = count(text)
    if not number:
        raise ArgumentTypeError(f"{text!r} is not at least 1.")
    return number


def _words(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
