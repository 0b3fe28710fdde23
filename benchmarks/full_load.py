"""The cost of preemption on full clusters: the planner compared with the usual policies."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.frontier import Setting, heading, row
from benchmarks.workload import DAY, at_load, two_clusters, workload
from benchmarks.workload import add_arguments as of_workload
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.simulation.baselines import (
    FIXED,
    kube_preemption,
    kube_within_budget,
    strict_priority,
)
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.table import aligned

_CHECKPOINT = 600
_EVER = 10**9


def add_arguments(parser: ArgumentParser) -> None:
    of_workload(parser, jobs=4000, levels="even")
    parser.add_argument(
        "--load", type=float, default=1.0, help="requested share of the capacity (1.0)"
    )
    parser.add_argument("--only", action="append", help="only settings that start with this")


def command(options: dict[str, Any], out: Callable[[str], Any]) -> None:
    clusters = two_clusters(options["gpus"])
    jobs = at_load(workload(options), clusters, options["load"])
    rows = [heading()]
    for setting in settings():
        if options["only"] and not setting.name.startswith(tuple(options["only"])):
            continue
        course = replay(jobs, clusters, setting.decide, setting.terms, lambda _: None)
        rows.append(row(options["load"], setting.name, summarize(course)))
        out(" ".join(rows[-1]))
    out("")
    for line in aligned(rows):
        out(line)


def settings() -> Iterator[Setting]:
    bare = Terms(Policy(backoff_seconds=0))
    yield Setting("strict priority, no preemption", strict_priority, bare)
    yield Setting("kube-style preemption", kube_preemption, bare)
    doubling = Terms(Policy(longest_backoff_seconds=DAY, budget_window_seconds=_EVER))
    budget = Terms(Policy(backoff_seconds=0).with_values(FIXED["kube3"]))
    yield Setting("with a back-off that doubles", kube_preemption, doubling)
    yield Setting("with at most 3 evictions each", kube_within_budget, budget)
    yield Setting("with checkpoints", kube_preemption, replace(bare, checkpoint_every=_CHECKPOINT))
    yield Setting("this planner", make_plan, Terms())
    yield Setting("this planner with checkpoints", make_plan, Terms(checkpoint_every=_CHECKPOINT))
