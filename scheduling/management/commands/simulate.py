import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hypervisor.base import commands
from hypervisor.base.numbers import count
from scheduling.management.cluster_option import add_cluster, numbered
from scheduling.management.set_option import add_set
from scheduling.planner.policy import Policy
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.baselines import FIXED, POLICIES
from scheduling.simulation.engine import Replay, Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.report import page
from scheduling.simulation.table import aligned, level_rows, overall_rows
from scheduling.simulation.trace import Job, read_trace

_BAR = 40


class Command(commands.Command):
    help = "Simulate a workload under several schedulers. Needs no database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("trace", help="CSV: submit_s,duration_s,cpu_milli,memory_mib,gpu,…")
        add_cluster(parser, required=True, about="one cluster")
        parser.add_argument(
            "--policy",
            action="append",
            choices=list(POLICIES),
            help="a scheduler; may be repeated; default: all. kube3 is kube with at most 3"
            " evictions of each job, whatever --set says",
        )
        parser.add_argument(
            "--jobs", type=count, metavar="N", help="read only this many jobs of the trace"
        )
        parser.add_argument(
            "--checkpoint-every",
            type=count,
            default=0,
            metavar="SECONDS",
            help="how often jobs save their progress; default: 0, never",
        )
        parser.add_argument(
            "--runtimes-known",
            action="store_true",
            help="each job gives its duration as its maximum run time",
        )
        add_set(parser, Terms.thresholds())
        parser.add_argument(
            "--html", type=Path, metavar="FILE", help="also write a page with plots to this file"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with Path(options["trace"]).open(encoding="utf-8", newline="") as lines:
                jobs = read_trace(lines)[: options["jobs"]]
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        terms = Terms(
            Policy.from_mapping(dict(options["set"])),
            checkpoint_every=options["checkpoint_every"],
            runtimes_known=options["runtimes_known"],
        )
        clusters = numbered(options["cluster"])
        replays = {
            name: self._replay(name, jobs, clusters, terms)
            for name in options["policy"] or POLICIES
        }
        self._report(replays, options["html"], Path(options["trace"]).name)

    def _replay(
        self, name: str, jobs: Sequence[Job], clusters: tuple[Cluster, ...], terms: Terms
    ) -> Replay:
        policy = terms.policy.with_values(FIXED.get(name, {}))
        progress = self._progress(name, len(jobs))
        return replay(jobs, clusters, POLICIES[name], replace(terms, policy=policy), progress)

    def _progress(self, name: str, total: int) -> Callable[[int], None]:
        """Return a function that draws a progress bar on a terminal and does nothing elsewhere."""
        if not sys.stderr.isatty():
            return lambda _: None

        def draw(ended: int) -> None:
            if ended % max(total // 200, 1) == 0 or ended == total:
                bar = "#" * (_BAR * ended // total)
                end = "\n" if ended == total else "\r"
                self.stderr.write(f"{name:<9} [{bar:<{_BAR}}] {ended}/{total}", ending=end)

        return draw

    def _report(self, replays: dict[str, Replay], html: Path | None, title: str) -> None:
        summaries = {name: summarize(course) for name, course in replays.items()}
        for rows in (overall_rows(summaries), level_rows(summaries)):
            for line in aligned(rows):
                self.stdout.write(line)
            self.stdout.write("")
        rejected = next(iter(replays.values())).rejected
        if rejected:
            self.stdout.write(f"{rejected} jobs are larger than any cluster and were left out.")
        if html:
            html.write_text(page(f"Replay of {title}", replays, summaries), encoding="utf-8")
            self.stdout.write(f"Plots: {html}")
