"""`manage.py bench NAME`: what the service and the planner achieve, in figures."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.core.management.base import CommandError

from hypervisor.base import commands

BENCHES = {
    "dashboard": "the operators' first page, with a million deployments, on a service of its own",
    "engine": "starts, preemptions, chaos and churn on a real Docker Engine",
    "frontier": "what each threshold buys and costs, in simulated time",
    "full_load": "what preemption costs on full clusters, beside the usual policies",
    "growth": "the planner's time from 1,000 to 100,000 pending on 100 clusters",
    "latency": "from a POST until it is placed and running, on a running service",
    "load": "many clients at once, watched and inspected, on a running service",
    "quality": "planners beside the exact optimum, on generated snapshots and cuts of a trace",
    "starvation": "how long the biggest wait, with and without reservations",
    "victims": "whom one preemptor displaces, beside an exhaustive search",
}
"""Each is a module of benchmarks with `add_arguments(parser)` and `command(options, out)`."""


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
                f"Nothing answers ({error}). Start the service: python3 manage.py up"
            ) from error


def _module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")
