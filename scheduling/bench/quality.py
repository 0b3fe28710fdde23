"""Compare the planner with the exact optimum on many snapshots, as one row of a table."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import TYPE_CHECKING, Any

from scheduling.bench.cases import from_trace, synthetic
from scheduling.bench.rules import Result, violations
from scheduling.core.planner import make_plan
from scheduling.core.snapshot import Snapshot

if TYPE_CHECKING:
    from scheduling.bench.reference import Optimum

SECONDS_A_LEVEL = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One snapshot: its plan's harvest beside the optimum's. `leaving` counts moves as well."""

    counts: tuple[int, ...]
    best: tuple[int, ...]
    leaving: int
    best_leaving: int
    proven: bool
    broken: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Shares in percent of the optimum, CPU time of one plan in seconds."""

    snapshots: int
    proven: int
    top_mean: float
    top_5th: float
    all_levels: float
    lexicographic: float
    broken: int
    evictions: int
    best_evictions: int
    median_s: float
    p95_s: float

    def rows(self) -> Iterable[tuple[str, str]]:
        for name, value in asdict(self).items():
            yield name, f"{value:.4g}" if name.endswith("_s") else f"{value:.5g}"


def sample(snapshot: Snapshot, best: "Optimum | None" = None) -> Sample:
    """Plan the snapshot, and find its optimum unless it is known."""
    started = process_time()
    plan = make_plan(snapshot)
    seconds = process_time() - started
    result = Result(snapshot, plan)
    if best is None:
        from scheduling.bench.reference import optimum  # a development dependency

        hint = {d.id: result.after.get(d.id) for d in snapshot.deployments}
        best = optimum(snapshot, SECONDS_A_LEVEL, hint=hint)
    counts = Counter(result.deployments[d].priority for d in result.after)
    levels = sorted(best.counts, reverse=True)
    return Sample(
        counts=tuple(counts[p] for p in levels),
        best=tuple(best.counts[p] for p in levels),
        leaving=len(plan.evictions) + len(plan.moves),
        best_leaving=best.evictions,
        proven=best.proven,
        broken=tuple(violations(snapshot, plan)),
        seconds=seconds,
    )


def summarize(samples: list[Sample]) -> Summary:
    tops = sorted(_share(s.counts[0], s.best[0]) for s in samples if s.best)
    times = sorted(s.seconds for s in samples)
    return Summary(
        snapshots=len(samples),
        proven=sum(s.proven for s in samples),
        top_mean=fmean(tops),
        top_5th=tops[len(tops) // 20],
        all_levels=_share(sum(sum(s.counts) for s in samples), sum(sum(s.best) for s in samples)),
        lexicographic=_share(sum(s.counts >= s.best for s in samples), len(samples)),
        broken=sum(bool(s.broken) for s in samples),
        evictions=sum(s.leaving for s in samples),
        best_evictions=sum(s.best_leaving for s in samples),
        median_s=median(times),
        p95_s=times[len(times) * 95 // 100],
    )


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--trace", type=Path, help="CSV to cut snapshots from; else synthetic ones")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    trace, count, seed = options["trace"], options["count"], options["seed"]
    snapshots = from_trace(trace, count, seed) if trace else synthetic(count, seed)
    samples = []
    for number, snapshot in enumerate(snapshots, start=1):
        try:
            samples.append(sample(snapshot))
        except TimeoutError as error:
            out(f"snapshot {number}: {error}, left out")
            continue
        for sentence in samples[-1].broken:
            out(f"snapshot {number}: {sentence}")
    for name, value in summarize(samples).rows():
        out(f"{name:15} {value}")
