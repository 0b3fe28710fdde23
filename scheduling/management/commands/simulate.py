import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters.resources import parse_cpu, parse_ram_mib
from hypervisor.base import commands
from hypervisor.base.numbers import count, read_whole
from scheduling.management.set_option import add_set
from scheduling.planner.policy import Policy
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster
from scheduling.simulation.baselines import POLICIES
from scheduling.simulation.engine import Replay, Terms, replay
from scheduling.simulation.metrics import summarize
from scheduling.simulation.report import page
from scheduling.simulation.table import aligned, level_rows, overall_rows
from scheduling.simulation.trace import Job, read_trace

_CLUSTER = "cpu=64,ram=512Gi,gpu=8"
_BAR = 40
_UNUSED = {"suspension_seconds", "operator_backoff_seconds"}
"""Every job of a simulation starts before it ends, and no operator preempts it."""


class Command(commands.Command):
    help = "Simulate a workload under several schedulers. Needs no database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("trace", help="CSV: submit_s,duration_s,cpu_milli,memory_mib,gpu,…")
        parser.add_argument(
            "--cluster",
            type=_capacity,
            action="append",
            required=True,
            metavar=_CLUSTER,
            help="one cluster; may be repeated",
        )
        parser.add_argument(
            "--policy",
            action="append",
            choices=list(POLICIES),
            help="a scheduler; may be repeated; default: all",
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
        add_set(parser, [each for each in Policy.thresholds() if each.name not in _UNUSED])
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
        clusters = tuple(
            Cluster(number, capacity) for number, capacity in enumerate(options["cluster"], start=1)
        )
        replays = {
            name: self._replay(name, jobs, clusters, terms)
            for name in options["policy"] or POLICIES
        }
        self._report(replays, options["html"], Path(options["trace"]).name)

    def _replay(
        self, name: str, jobs: Sequence[Job], clusters: tuple[Cluster, ...], terms: Terms
    ) -> Replay:
        return replay(jobs, clusters, POLICIES[name], terms, self._progress(name, len(jobs)))

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


def _capacity(text: str) -> Resources:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if not {"cpu", "ram"} <= set(parts) <= {"cpu", "ram", "gpu"}:
        raise ArgumentTypeError(f"{text}: expected the form {_CLUSTER}")
    try:
        return Resources(
            parse_cpu(parts["cpu"]), parse_ram_mib(parts["ram"]), read_whole(parts.get("gpu", "0"))
        )
    except ValueError as error:
        raise ArgumentTypeError(f"{text}: {error}") from error
