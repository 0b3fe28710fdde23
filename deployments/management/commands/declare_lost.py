"""`manage.py declare_lost CLUSTER`: give up an engine whose containers are gone."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters.management.naming import cluster_named
from deployments.runtime.lost_contact import declare_lost
from hypervisor.base import commands
from hypervisor.base.errors import DomainError

ACTOR = "system:operator"


class Command(commands.Command):
    help = (
        "Requeue all deployments on an engine that does not answer. Use this only if"
        " its containers are certainly gone: otherwise deployments could run twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")
        parser.add_argument(
            "--node", metavar="NAME", help="the node whose engine it is, if each has its own"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        cluster, node = cluster_named(options["cluster"]), options["node"]
        try:
            declare_lost(cluster, actor=ACTOR, node=node)
        except DomainError as error:
            raise CommandError(error.detail) from error
        where = f"{node} of {cluster.name}" if node else cluster.name
        self.stdout.write(
            f"{where} is declared lost. `manage.py explain DEPLOYMENT` shows where each deployment"
            " is now."
        )
