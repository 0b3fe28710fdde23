"""The benefit and cost of each threshold: a workload replayed with many settings and loads."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.workload import LEVELS, STEP, at_load, two_clusters, workload
from benchmarks.workload import add_arguments as of_workload
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Backfill
from scheduling.simulation.baselines import POLICIES
from scheduling.simulation.engine import Decide, Terms, replay
from scheduling.simulation.metrics import Summary, summarize
from scheduling.simulation.scatter import Point, scatter
from scheduling.simulation.table import aligned


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the frontier: a name, the planner and its terms."""

    name: str
    decide: Decide
    terms: Terms


def add_arguments(parser: ArgumentParser) -> None:
    of_workload(parser, jobs=600, levels="even")
    parser.add_argument(
        "--load",
        type=float,
        action="append",
        help="requested share of the capacity; may be repeated (0.7, 0.9, 1.1)",
    )
    parser.add_argument("--only", action="append", help="only settings that start with this")
    parser.add_argument("--svg", type=Path, help="write the plot to this file")


def command(options: dict[str, Any], out: Callable[[str], Any]) -> None:
    jobs = workload(options)
    clusters = two_clusters(options["gpus"])
    points, rows = [], [heading()]
    for load in options["load"] or (0.7, 0.9, 1.1):
        scaled = at_load(jobs, clusters, load)
        for setting in settings():
            if options["only"] and not setting.name.startswith(tuple(options["only"])):
                continue
            course = replay(scaled, clusters, setting.decide, setting.terms, lambda _: None)
            summary = summarize(course)
            rows.append(row(load, setting.name, summary))
            points.append(_point(load, setting.name, summary))
            out(" ".join(rows[-1]))
    out("")
    for line in aligned(rows):
        out(line)
    if options["svg"]:
        options["svg"].write_text(
            scatter(points, "mean wait of the lowest level, seconds (logarithmic)", "goodput"),
            encoding="utf-8",
        )


def settings() -> Iterator[Setting]:
    """Yield the defaults, settings with one threshold changed, and two baselines."""
    base = Terms()
    yield Setting("defaults", make_plan, base)
    for budget in (1, 5, 10):
        yield Setting(f"budget {budget}", make_plan, _with(base, preemption_budget=budget))
    yield Setting("no gap", make_plan, _with(base, budget_override_gap=100))
    for seconds in (300, 1800):
        yield Setting(f"min run {seconds}", make_plan, _with(base, min_run_seconds=seconds))
    yield Setting("no back-off", make_plan, _with(base, backoff_seconds=0))
    yield Setting("back-off 600", make_plan, _with(base, backoff_seconds=600))
    yield Setting("checkpoints", make_plan, replace(base, checkpoint_every=600))
    yield Setting("run times known", make_plan, replace(base, runtimes_known=True))
    yield Setting("backfill ending", make_plan, _with(base, backfill=Backfill.ENDING.value))
    yield Setting("no reservations", make_plan, _with(base, starvation_seconds=10**9))
    yield Setting("kube", POLICIES["kube"], _with(base, backoff_seconds=0))
    yield Setting("strict", POLICIES["strict"], base)


def _with(terms: Terms, **thresholds: Any) -> Terms:
    return replace(terms, policy=replace(terms.policy, **thresholds))


def heading() -> list[str]:
    waits = [f"wait {level}, s" for level in LEVELS]
    return ["load", "setting", "goodput", "mean queue", "evictions", *waits]


def row(load: float, name: str, summary: Summary) -> list[str]:
    waits = {level.priority: f"{level.wait_mean:,.0f}" for level in summary.levels}
    return [
        f"{load:.2f}",
        name,
        f"{summary.goodput:.3f}",
        f"{summary.queue_mean:.0f}",
        str(summary.evictions),
        *(waits.get(level * STEP, "-") for level in LEVELS),
    ]


def _point(load: float, name: str, summary: Summary) -> Point:
    lowest = min(summary.levels, key=lambda level: level.priority)
    return Point(f"load {load:.2f}", name, lowest.wait_mean, summary.goodput)
