from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters import connections
from clusters.management.naming import ACTOR, cluster_named
from hypervisor.base import commands
from hypervisor.base.errors import DomainError


class Command(commands.Command):
    help = "Disconnect an empty cluster or node from its engine, and cordon it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")
        parser.add_argument(
            "--node", metavar="NAME", help="the node whose engine it is, if each has its own"
        )
        parser.add_argument(
            "--engine-is-gone",
            action="store_true",
            help="do not check that the engine is empty, because it no longer exists",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        cluster, node = cluster_named(options["cluster"]), options["node"]
        gone = options["engine_is_gone"]
        try:
            connections.disconnect(cluster, actor=ACTOR, node=node, engine_is_gone=gone)
        except DomainError as error:
            raise CommandError(error.detail) from error
        where = f"node {node} of cluster" if node else "cluster"
        self.stdout.write(f"Disconnected {where} {cluster.name} ({cluster.pk}) and cordoned it.")
