"""`manage.py declare_lost CLUSTER`: an operator's word that its containers are gone."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from clusters.management.naming import cluster_named
from deployments.runtime.lost_contact import declare_lost
from hypervisor.base import commands
from hypervisor.base.errors import DomainError

ACTOR = "system:operator"


class Command(commands.Command):
    help = (
        "Queue again what is on a cluster whose engine does not answer. Only when its containers"
        " are gone for certain: they could run twice otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cluster", metavar="CLUSTER", help="its name or its id")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = cluster_named(options["cluster"])
        try:
            declare_lost(cluster, actor=ACTOR)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{cluster.name} is declared lost; `explain` says where its work went.")
