import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters import connections
from clusters.connections import Route
from clusters.drivers.base import Probe
from clusters.drivers.kinds import connectable, kind_of
from clusters.management.naming import ACTOR, cluster_named
from clusters.models import Cluster
from clusters.resources import describe
from hypervisor.base import commands
from hypervisor.base.errors import DomainError
from hypervisor.base.names import listed

_NAMED = 10
"""The most nodes that are named."""


class Command(commands.Command):
    help = "Connect a cluster, or one of its nodes, to the engine that runs its containers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")
        parser.add_argument(
            "--node",
            metavar="NAME",
            help="the node that the engine is, if the cluster has several and each is an engine",
        )
        parser.add_argument("--yes", action="store_true", help="connect despite warnings")
        engines = parser.add_mutually_exclusive_group(required=True)
        for name, kind in connectable().items():
            flag = f"--{name.replace('_', '-')}"
            kind.make_options().add(flag, engines, parser.add_argument_group(kind.title))

    def handle(self, *args: Any, **options: Any) -> None:
        cluster, node = cluster_named(options["cluster"]), options["node"]
        try:
            route = _route(cluster, options)
            found = connections.probe(cluster, route, node=node)
            self._report(found)
            if found.warnings and not options["yes"]:
                _confirm()
            made = connections.connect(cluster, actor=ACTOR, route=route, node=node)
        except DomainError as error:
            raise CommandError(error.detail) from error
        where = f"node {node} of cluster" if node else "cluster"
        self.stdout.write(f"Connected {where} {cluster.name} ({cluster.pk}).")
        if made.node:
            self._report_unconnected(cluster)

    def _report(self, found: Probe) -> None:
        has = describe(found.cpu_milli, found.ram_mib, found.gpu)
        self.stdout.write(f"{found.version} with {has}, engine {found.engine_id}.")
        for warning in found.warnings:
            self.stdout.write(self.style.WARNING(f"Warning: {warning}"))

    def _report_unconnected(self, cluster: Cluster) -> None:
        without = cluster.nodes.filter(connection=None).values_list("name", flat=True)
        if names := list(without[: _NAMED + 1]):
            self.stdout.write(
                f"Without an engine, and therefore cordoned: {listed(names, _NAMED)}. Connect each"
                " with --node."
            )


def _route(cluster: Cluster, options: dict[str, Any]) -> Route:
    """Return the route of the kind whose flag is among the options."""
    driver = next(name for name in connectable() if options[name] not in (None, False))
    known = connections.present(cluster, driver, node=options["node"])
    return kind_of(driver).make_options().route(driver, options, known)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise CommandError("Nothing was changed: to connect despite the warnings, add --yes.")
    if input("Connect it anyway? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was changed.")
