"""How many GPUs stay unallocated on a cluster that is filled request by request, by policy.

The method is the Monte-Carlo workload inflation of Weng et al., Beware of Fragmentation, USENIX
ATC '23: requests are drawn from a trace, with replacement, until they request more GPUs than the
cluster has; nothing ends. What no policy could place later, because the free GPUs are scattered or
lack CPU or RAM beside them, stays unallocated.
"""

import csv
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from time import process_time
from typing import Any, TypeVar

from django.core.management.base import CommandError

from benchmarks.placers import Placer, placers
from hypervisor.base.numbers import argument, count, read_whole
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Node
from scheduling.simulation.table import aligned
from scheduling.simulation.trace import read_trace

ARRIVED = (90, 95, 100, 110, 120, 130)
"""The shares of the GPUs, in percent, that have been requested when the cluster is measured."""
_COLUMNS = ("node", "cpu_milli", "memory_mib", "gpu", "model")
_Rows = TypeVar("_Rows")
Figures = dict[int, tuple[float, float]]
"""By share of arrived demand, the GPUs that are unallocated, of all GPUs, and the requested GPUs
that are placed, of those that have arrived; both in percent.
"""


def read_nodes(lines: Iterable[str]) -> tuple[Node, ...]:
    """Read CSV with the columns `node,cpu_milli,memory_mib,gpu,model`; the model becomes a label.

    Raises ValueError, which names the line.
    """
    reader = csv.DictReader(lines)
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"line 1: the column {missing[0]} is missing")
    return tuple(_node(number, row) for number, row in enumerate(reader, start=1))


def _node(number: int, row: Mapping[str, str]) -> Node:
    try:
        amounts = [read_whole(row[name]) for name in ("cpu_milli", "memory_mib", "gpu")]
    except (TypeError, ValueError) as error:
        raise ValueError(f"line {number + 1}: {error}") from error
    if min(amounts) < 0:
        raise ValueError(f"line {number + 1}: an amount is negative")
    labels = {"gpu.model": row["model"]} if row["model"] else {}
    return Node(number, Resources(*amounts), row["node"], labels)


def inflate(requests: Sequence[Resources], gpus: int, random: Random) -> Iterator[Resources]:
    """Yield requests, drawn with replacement, until they request this number of GPUs or more."""
    arrived = 0
    while arrived < gpus:
        request = random.choice(requests)
        arrived += request.gpu
        yield request


def figures(requests: Iterable[Resources], placed: Iterable[bool], gpus: int) -> Figures:
    """Return the figures at the first arrival that reaches each of `ARRIVED`."""
    found: Figures = {}
    arrived = allocated = 0
    left = list(ARRIVED)
    for request, is_placed in zip(requests, placed, strict=True):
        arrived += request.gpu
        allocated += request.gpu if is_placed else 0
        while left and 100 * arrived >= left[0] * gpus:
            found[left.pop(0)] = 100 * (1 - allocated / gpus), 100 * allocated / arrived
    return found


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--trace", type=Path, required=True, help="CSV to draw the requests from, as for `simulate`"
    )
    parser.add_argument(
        "--nodes", type=Path, required=True, help=f"CSV with the columns {','.join(_COLUMNS)}"
    )
    parser.add_argument("--seeds", type=count, default=5, help="number of repetitions (5)")
    parser.add_argument("--seed", type=argument, default=1, help="the first seed (1)")
    parser.add_argument(
        "--batch", type=count, default=20, help="requests that the planner plans at a time (20)"
    )
    parser.add_argument("--only", action="append", help="only policies that start with this")


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    """Fill the cluster with each policy, and print the figures. Raises CommandError."""
    nodes, requests = _read(options["nodes"], read_nodes), _read(options["trace"], _requests)
    gpus = sum(node.capacity.gpu for node in nodes)
    _check(options, requests, gpus)
    wanted = tuple(options["only"] or [""])
    policies = placers(requests, nodes, options["batch"])
    chosen = {name: placer for name, placer in policies.items() if name.startswith(wanted)}
    if not chosen:
        raise CommandError(f"--only: no policy starts so; there are {', '.join(policies)}")
    seeds = range(options["seed"], options["seed"] + options["seeds"])
    results: dict[str, list[Figures]] = {}
    seconds = {}
    for name, placer in chosen.items():
        started = process_time()
        results[name] = [_fill(placer, nodes, requests, gpus, seed) for seed in seeds]
        seconds[name] = (process_time() - started) / len(seeds)
    out(f"{len(nodes):,} nodes with {gpus:,} GPUs, {len(seeds)} seeds: mean (least to most)")
    for title, figure in (("unallocated GPUs, %", 0), ("placed of what arrived, %", 1)):
        out("")
        for line in aligned(list(_rows(title, results, figure))):
            out(line)
    out("")
    for name, mean in seconds.items():
        out(f"{name}: {mean:.1f} CPU seconds a seed")


def _check(options: Mapping[str, Any], requests: Sequence[Resources], gpus: int) -> None:
    for name in ("seeds", "batch"):
        if not options[name]:
            raise CommandError(f"--{name}: must be at least 1")
    if not gpus:
        raise CommandError("--nodes: no node has a GPU; use nodes with GPUs")
    if not any(request.gpu for request in requests):
        raise CommandError("--trace: no job requests a GPU; use a trace with GPUs")


def _fill(
    placer: Placer, nodes: Sequence[Node], requests: Sequence[Resources], gpus: int, seed: int
) -> Figures:
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    needed = -(-gpus * ARRIVED[-1] // 100)
    arrivals = list(inflate(requests, needed, random))
    return figures(arrivals, placer(nodes, arrivals, random), gpus)


def _rows(title: str, results: Mapping[str, Sequence[Figures]], figure: int) -> Iterator[list[str]]:
    """Yield a heading and a row for each policy, with a column for each of `ARRIVED`."""
    yield [title, *(f"{arrived}% arrived" for arrived in ARRIVED)]
    for name, runs in results.items():
        columns = [[run[arrived][figure] for run in runs] for arrived in ARRIVED]
        yield [name, *(f"{fmean(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns)]


def _requests(lines: Iterable[str]) -> list[Resources]:
    return [job.request for job in read_trace(lines)]


def _read(path: Path, reader: Callable[[Iterable[str]], _Rows]) -> _Rows:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return reader(lines)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from error
