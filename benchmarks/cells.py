"""The cells of the bench `over_time`: windows of traces, at several loads and with several levels.

A cell is one workload on given clusters. Every policy replays the same cells, so that its figures
can be compared in pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.suites import Setting
from benchmarks.workload import at_load, two_clusters, with_levels
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.engine import replay
from scheduling.simulation.metrics import Summary, summarize
from scheduling.simulation.trace import Job, generate, read_trace

_TAILS = {"generated": 1.5, "generated, heavy tails": 2.5}
_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Cell:
    """A workload on clusters.

    `first` is the place of its first job in the trace, from 1. `load` is the requested share of
    the capacity; None: as submitted.
    """

    trace: str
    first: int
    load: float | None
    levels: str
    jobs: tuple[Job, ...]
    clusters: tuple[Cluster, ...]

    @property
    def load_label(self) -> str:
        return "as submitted" if self.load is None else f"{self.load:.2f}"

    @property
    def too_large(self) -> int:
        """Return how many of the jobs fit no cluster; they are left out of the replay."""
        return sum(not any(j.request.fits_in(c.capacity) for c in self.clusters) for j in self.jobs)

    @property
    def label(self) -> str:
        return f"{self.trace} from {self.first}, load {self.load_label}, levels {self.levels}"


def measure(cell: Cell, setting: Setting) -> tuple[Summary, float]:
    """Replay the cell; return the figures, and the CPU seconds that it took."""
    started = process_time()
    course = replay(cell.jobs, cell.clusters, setting.decide, setting.terms, lambda _: None)
    return summarize(course), process_time() - started


def make_cells(options: Mapping[str, Any], clusters: tuple[Cluster, ...] | None) -> Iterator[Cell]:
    """Yield the cells of the options, on these clusters or else on two of `gpus` each.

    Raises ValueError, which names the trace and the remedy, and OSError.
    """
    clusters = clusters or two_clusters(options["gpus"])
    loads: Sequence[float | None] = options["load"] or ([] if options["direct"] else DEFAULT_LOADS)
    if options["direct"]:
        loads = [*loads, None]
    for trace, jobs in _traces(options):
        for levels in options["levels"] or DEFAULT_LEVELS:
            dealt = with_levels(jobs, levels, options["seed"])
            for first, window in _windows(trace, dealt, options):
                for load in loads:
                    final = window
                    if load is not None:
                        final = _at_load(window, clusters, load, options["longest"])
                    yield Cell(trace, first + 1, load, levels, tuple(final), clusters)


DEFAULT_LOADS = (0.8, 1.0, 1.2)
DEFAULT_LEVELS = ("trace", "even")


def _traces(options: Mapping[str, Any]) -> Iterator[tuple[str, list[Job]]]:
    for path in options["trace"]:
        yield path.name, _read(path)
    if not options["trace"]:
        count = 2 * options["windows"] * options["jobs"]
        for name, spread in _TAILS.items():
            seed = options["seed"]
            yield name, list(generate(count, seed=seed, every_s=_EVERY_S, spread=spread))


def _read(path: Path) -> list[Job]:
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            return read_trace(lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _windows(
    trace: str, jobs: Sequence[Job], options: Mapping[str, Any]
) -> Iterator[tuple[int, list[Job]]]:
    """Yield the index of the first job of each window, and its jobs, submitted from second 0 on."""
    starts = window_starts(
        len(jobs), options["jobs"], options["windows"], held_out=options["held_out"]
    )
    if not starts:
        needed = options["jobs"] * (2 if options["held_out"] else 1)
        raise ValueError(
            f"{trace}: has {len(jobs)} jobs, and the windows need {needed}: use fewer --jobs"
        )
    for start in starts:
        window = jobs[start : start + options["jobs"]]
        yield start, [replace(job, submit=job.submit - window[0].submit) for job in window]


def window_starts(jobs: int, size: int, number: int, *, held_out: bool) -> list[int]:
    """Return the indices at which up to this number of windows of `size` jobs start.

    The trace is cut into blocks of `size` jobs. The windows are every other block, the held-out
    windows the blocks between them, both spread over the trace; so no two windows share a job.
    """
    blocks = range(int(held_out), jobs // size, 2)
    number = min(number, len(blocks))
    return [blocks[i * len(blocks) // number] * size for i in range(number)]


def _at_load(
    jobs: Sequence[Job], clusters: Sequence[Cluster], load: float, longest: int
) -> list[Job]:
    shortened = [replace(job, duration=min(job.duration, longest)) for job in jobs]
    if jobs[-1].submit == jobs[0].submit:
        raise ValueError(
            "the jobs of a window are all submitted in one second, so that no load can be set: use"
            " more --jobs, or --direct"
        )
    return at_load(shortened, clusters, load)
