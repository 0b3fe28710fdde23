"""Compare planners with the exact optimum on many snapshots, as a table."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import Any

from benchmarks.cases import from_trace, on_nodes, synthetic, with_default_settings
from benchmarks.planners import PLANNERS, Planner
from benchmarks.references import Optimum, References
from benchmarks.rules import Result, only_when_needed, violations
from scheduling.planner.snapshot import Snapshot
from scheduling.simulation.table import aligned

_OURS = "this planner"
Case = tuple[Snapshot, Optimum]
_HEADING = [
    "planner", "top level, %", "5th percentile", "all levels, %", "optimal counts, %",
    "break rule 3", "evictions", "median, ms", "95th, ms",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """The active deployments by level, of a plan and of the optimum. `evictions` include moves.

    `needless`: the plan has an eviction that rule 3 forbids.
    """

    counts: tuple[int, ...]
    best: tuple[int, ...]
    evictions: int
    needless: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Shares of the optimum in percent, and CPU seconds of one plan."""

    top_mean: float
    top_5th: float
    all_levels: float
    lexicographic: float
    needless: int
    evictions: int
    median_s: float
    p95_s: float

    def row(self, name: str) -> list[str]:
        return [
            name,
            f"{self.top_mean:.2f}",
            f"{self.top_5th:.1f}",
            f"{self.all_levels:.2f}",
            f"{self.lexicographic:.1f}",
            str(self.needless),
            str(self.evictions),
            f"{1000 * self.median_s:.1f}",
            f"{1000 * self.p95_s:.1f}",
        ]


def sample(planner: Planner, snapshot: Snapshot, best: Optimum) -> Sample:
    started = process_time()
    plan = planner(snapshot)
    seconds = process_time() - started
    result = Result(snapshot, plan)
    counts = Counter(result.deployments[d].priority for d in result.after)
    levels = sorted(best.counts, reverse=True)
    return Sample(
        counts=tuple(counts[p] for p in levels),
        best=tuple(best.counts[p] for p in levels),
        evictions=len(plan.evictions) + len(plan.moves),
        needless=any(only_when_needed(result)),
        seconds=seconds,
    )


def summarize(samples: Sequence[Sample]) -> Summary:
    tops = sorted(_share(s.counts[0], s.best[0]) for s in samples)
    times = sorted(s.seconds for s in samples)
    return Summary(
        top_mean=fmean(tops),
        top_5th=tops[len(tops) // 20],
        all_levels=_share(sum(sum(s.counts) for s in samples), sum(sum(s.best) for s in samples)),
        lexicographic=_share(sum(s.counts >= s.best for s in samples), len(samples)),
        needless=sum(s.needless for s in samples),
        evictions=sum(s.evictions for s in samples),
        median_s=median(times),
        p95_s=times[len(times) * 95 // 100],
    )


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--trace", type=Path, help="CSV to cut snapshots from as well")
    parser.add_argument("--count", type=int, default=200, help="snapshots of each kind (200)")
    parser.add_argument(
        "--settings", choices=("both", "no-turns", "default"), default="both",
        help="plan without turns, or with the default settings and real ages (both)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the snapshots (1)")
    parser.add_argument("--nodes", action="store_true", help="only snapshots with many nodes")
    parser.add_argument(
        "--references", type=Path, help="file that stores the optima, to be used again"
    )
    parser.add_argument(
        "--work", type=float, default=2.0, help="limit of the exact solver, seconds a level (2)"
    )


def command(options: Mapping[str, Any], out: Callable[[str], object]) -> None:
    references = References(options["references"], options["work"])
    trace, count, seed = options["trace"], options["count"], options["seed"]
    if options["nodes"]:
        workloads = {"snapshots on nodes": list(on_nodes(count, seed))}
    else:
        workloads = {"cuts of the trace": list(from_trace(trace, count, seed))} if trace else {}
        workloads["synthetic snapshots"] = list(synthetic(count, seed))
    for title, snapshots in workloads.items():
        if options["settings"] != "default":
            _report(f"{title} without turns", snapshots, PLANNERS, references.of, out)
        if options["settings"] != "no-turns":
            defaults = list(with_default_settings(snapshots, seed))
            title = f"{title} with the default settings"
            _report(title, defaults, {_OURS: PLANNERS[_OURS]}, references.of, out)


def _report(
    title: str,
    snapshots: Sequence[Snapshot],
    planners: Mapping[str, Planner],
    reference: Callable[[Snapshot], Optimum | None],
    out: Callable[[str], object],
) -> None:
    found = [(snapshot, best) for snapshot in snapshots if (best := reference(snapshot))]
    proven = sum(best.proven for _, best in found)
    out(f"{len(found)} {title}; the reference is proved to be optimal for {proven} of them.")
    missing = len(snapshots) - len(found)
    if missing:
        out(f"{missing} more were left out because no reference was found in time.")
    for line in aligned([_HEADING, *_rows(found, planners)]):
        out(line)
    results = [Result(snapshot, PLANNERS[_OURS](snapshot)) for snapshot, _ in found]
    turns = sum(any(result.taking_turns.values()) for result in results)
    reserving = sum(bool(result.holders()) for result in results)
    out(f"In {turns} of them a deployment has its turn, in {reserving} capacity is reserved.")
    broken = [s for result in results for s in violations(result.snapshot, result.plan)]
    out(f"This planner has {len(broken)} violations of rules 1 to 5 and 12.")
    for sentence in broken:
        out(f"  {sentence}")
    out("")


def _rows(cases: Sequence[Case], planners: Mapping[str, Planner]) -> Iterator[list[str]]:
    for name, planner in planners.items():
        yield summarize([sample(planner, snapshot, best) for snapshot, best in cases]).row(name)
    evictions = sum(best.evictions for _, best in cases)
    yield ["the reference", "100", "100", "100", "100", "0", str(evictions), "-", "-"]
