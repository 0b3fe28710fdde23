"""The waits of the largest deployments, with and without reservations."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.workload import DAY, at_load, two_clusters, workload
from benchmarks.workload import add_arguments as of_workload
from scheduling.planner.pipeline import make_plan
from scheduling.planner.policy import Policy
from scheduling.simulation.engine import Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.table import aligned

_HEADING = [
    "setting", "mean wait, s", "of the largest 1%", "longest of these", "longest of all",
    "mean queue",
]  # fmt: skip
_NEVER = 10**9


def add_arguments(parser: ArgumentParser) -> None:
    of_workload(parser, jobs=4000, levels="one")
    parser.add_argument(
        "--load", type=float, default=0.8, help="requested share of the capacity (0.8)"
    )


def command(options: dict[str, Any], out: Callable[[str], Any]) -> None:
    clusters = two_clusters(options["gpus"])
    jobs = at_load(workload(options), clusters, options["load"])
    rows = [_HEADING]
    for name, terms in settings():
        summary = summarize(replay(jobs, clusters, make_plan, terms, lambda _: None))
        rows.append(
            [
                name,
                f"{summary.wait_mean:,.0f}",
                f"{summary.biggest_mean:,.0f}",
                f"{summary.biggest_wait:,}",
                f"{summary.longest_wait:,}",
                f"{summary.queue_mean:.1f}",
            ]
        )
        out(" ".join(rows[-1]))
    out("")
    for line in aligned(rows):
        out(line)


def settings() -> Iterator[tuple[str, Terms]]:
    yield "backfill alone", Terms(Policy(starvation_seconds=_NEVER))
    for seconds, words in ((DAY, "a day"), (DAY // 4, "six hours"), (900, "15 minutes")):
        terms = Terms(Policy(starvation_seconds=seconds))
        yield f"reservation after {words}", terms
        yield "the same, run times known", replace(terms, runtimes_known=True)
