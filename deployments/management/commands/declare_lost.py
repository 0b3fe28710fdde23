"""`manage.py declare_lost CLUSTER`: give up a cluster whose containers are gone."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters.management.naming import cluster_named
from deployments.runtime.lost_contact import declare_lost
from hypervisor.base import commands
from hypervisor.base.errors import DomainError

ACTOR = "system:operator"


class Command(commands.Command):
    help = (
        "Requeue all deployments on a cluster whose engine does not answer. Use this only if"
        " its containers are certainly gone: otherwise deployments could run twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = cluster_named(options["cluster"])
        try:
            declare_lost(cluster, actor=ACTOR)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(
            f"{cluster.name} is declared lost. `manage.py explain DEPLOYMENT` shows where each"
            " deployment is now."
        )
