"""`manage.py bench NAME`: measure the service and the planner."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError

from hypervisor.base import commands

BENCHES = {
    "backlog": "a preemptor's latency, explain and dry run while many wait, on a separate service",
    "cycle": "a cycle that places many deployments, beside raw SQL that writes the same rows",
    "engine": "starts, preemptions, chaos and churn on a real Docker Engine",
    "followers": "followers of events: latency, memory, and no gap while processes are killed",
    "forecast": "how far forecasts of starts are off, on replayed workloads, by method",
    "fragmentation": "GPUs that stay unallocated on a cluster that is filled, by policy",
    "growth": "how the planner's time and memory grow with deployments, clusters and nodes",
    "idle": "the CPU of each process while nothing happens, by clusters, on a separate service",
    "laws": "random worlds whose plans are checked against the rules",
    "latency": "the time from a POST until it is placed and running, on a running service",
    "lifetime": "throughput with a million ended deployments, and while a transaction stays open",
    "load": "many concurrent clients and a check of the result, on a running service",
    "neighbours": "one organization's latency while another has many deployments waiting",
    "over_time": "policies over time: the same workloads replayed with each, paired, with spread",
    "quality": "planners compared with the exact optimum, on generated and recorded workloads",
    "reads": "lists and pages while 100,000 deployments wait in one organization",
    "scaling": "several organizations at the same time, with 1, 2 and 4 workers",
    "submissions": "deployments submitted a second, compared with FastAPI and with pgbench",
    "starts": "containers of the simulated engine a second, on a separate service",
    "victims": "the victims of one preemptor, compared with an exhaustive search",
}
"""The modules of `benchmarks` with `add_arguments(parser)` and `command(options, out)`."""


class Command(commands.Command):
    help = "Measure the service and the planner."

    def add_arguments(self, parser: ArgumentParser) -> None:
        benches = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
        for name, about in BENCHES.items():
            _module(name).add_arguments(benches.add_parser(name, help=about, description=about))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            _module(options["bench"]).command(options, self.stdout.write)
        except ConnectionError as error:
            raise CommandError(
                f"The service does not respond ({error}). Start it: python3 manage.py up"
            ) from error


def _module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")
