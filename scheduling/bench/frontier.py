"""What each threshold buys and costs: a workload replayed under many settings and loads."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scheduling.core.planner import make_plan
from scheduling.core.resources import DIMENSIONS, Resources
from scheduling.core.snapshot import Cluster
from scheduling.simulation.engine import Decide, Terms, replay
from scheduling.simulation.metrics import Summary, summarize
from scheduling.simulation.plots import Point, scatter
from scheduling.simulation.rivals import POLICIES
from scheduling.simulation.table import aligned
from scheduling.simulation.trace import Job, generate, read_trace

_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the frontier: a name, who decides, and the terms."""

    name: str
    decide: Decide
    terms: Terms


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--trace", type=Path, help="CSV as for `simulate`; default: generated")
    parser.add_argument("--jobs", type=int, default=1500, help="how many of it (1500)")
    parser.add_argument("--seed", type=int, default=1, help="of the generated workload (1)")
    parser.add_argument("--gpus", type=int, default=24, help="of each of two clusters (24)")
    parser.add_argument(
        "--load",
        type=float,
        action="append",
        help="offered share of the supply; may be repeated (0.7, 0.9, 1.1)",
    )
    parser.add_argument("--only", action="append", help="only settings whose name starts so")
    parser.add_argument("--svg", type=Path, help="write the picture to this file")


def command(options: dict[str, Any], out: Callable[[str], Any]) -> None:
    jobs = _workload(options)
    clusters = _clusters(options["gpus"])
    points, rows = [], [_heading()]
    for load in options["load"] or (0.7, 0.9, 1.1):
        scaled = at_load(jobs, clusters, load)
        for setting in settings():
            if options["only"] and not setting.name.startswith(tuple(options["only"])):
                continue
            course = replay(scaled, clusters, setting.decide, setting.terms, lambda _: None)
            summary = summarize(course)
            rows.append(_row(load, setting.name, summary))
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
    """Yield the defaults, and each threshold moved alone; then kube-style preemption."""
    base = Terms()
    yield Setting("defaults", make_plan, base)
    for budget in (1, 5, 10, _UNLIMITED):
        name = "unlimited" if budget == _UNLIMITED else f"budget {budget}"
        yield Setting(name, make_plan, _with(base, preemption_budget=budget))
    for gap in (1, 2):
        yield Setting(f"gap {gap}", make_plan, _with(base, budget_override_gap=gap))
    for seconds in (300, 1800):
        yield Setting(f"min run {seconds}", make_plan, _with(base, min_run_seconds=seconds))
    yield Setting("no back-off", make_plan, replace(base, backoff=0))
    yield Setting("back-off 600", make_plan, replace(base, backoff=600))
    yield Setting("checkpoints", make_plan, replace(base, checkpoint_every=600))
    yield Setting("run times known", make_plan, replace(base, runtimes_known=True))
    yield Setting("backfill evictable", make_plan, _with(base, backfill="evictable"))
    yield Setting("starvation never", make_plan, _with(base, starvation_seconds=10**9))
    yield Setting("kube", POLICIES["kube"], replace(base, backoff=0))
    yield Setting("strict", POLICIES["strict"], base)


def _with(terms: Terms, **thresholds: Any) -> Terms:
    return replace(terms, policy=replace(terms.policy, **thresholds))


def at_load(jobs: Sequence[Job], clusters: Sequence[Cluster], load: float) -> list[Job]:
    """Return the jobs with their submissions closer together or further apart.

    The load is the work of all jobs over the supply during the time of submission, in the scarcest
    resource. Durations stay, but none exceeds a hundredth of all time, so that a load exists.
    """
    span = max(job.submit for job in jobs) - jobs[0].submit
    longest = max(span // 100, 1)
    capped = [replace(job, duration=min(job.duration, longest)) for job in jobs]
    offered = max(_offered(capped, clusters, name, span) for name in DIMENSIONS)
    stretch = offered / load
    return [replace(job, submit=int(job.submit * stretch)) for job in capped]


def _offered(jobs: Sequence[Job], clusters: Sequence[Cluster], name: str, span: int) -> float:
    supply = sum(getattr(cluster.capacity, name) for cluster in clusters) * span
    work = sum(job.duration * getattr(job.request, name) for job in jobs)
    return work / supply if supply else 0.0


def _workload(options: dict[str, Any]) -> list[Job]:
    if options["trace"] is None:
        return list(generate(options["jobs"], seed=options["seed"], every_s=60.0))
    with options["trace"].open(encoding="utf-8", newline="") as lines:
        return read_trace(lines)[: options["jobs"]]


def _clusters(gpus: int) -> tuple[Cluster, Cluster]:
    """Return two clusters with CPU and RAM to go with their GPU, as the trace's nodes have them."""
    capacity = Resources(gpus * 13_000, gpus * 34 * 1024, gpus)
    return Cluster(1, capacity), Cluster(2, capacity)


def _heading() -> list[str]:
    waits = [f"wait {priority}, s" for priority in (3, 2, 1, 0)]
    return ["load", "setting", "goodput", "mean queue", "evictions", *waits]


def _row(load: float, name: str, summary: Summary) -> list[str]:
    waits = {level.priority: f"{level.wait_mean:,.0f}" for level in summary.levels}
    return [
        f"{load:.2f}",
        name,
        f"{summary.goodput:.3f}",
        f"{summary.queue_mean:.0f}",
        str(summary.evictions),
        *(waits.get(priority, "-") for priority in (3, 2, 1, 0)),
    ]


def _point(load: float, name: str, summary: Summary) -> Point:
    lowest = min(summary.levels, key=lambda level: level.priority)
    return Point(f"load {load:.2f}", name, lowest.wait_mean, summary.goodput)
