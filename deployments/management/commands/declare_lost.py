"""`manage.py declare_lost CLUSTER`: an operator's word that its containers are gone."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import DomainError
from accounts.numbers import argument
from clusters.models import Cluster
from deployments.contact import declare_lost

ACTOR = "system:operator"


class Command(BaseCommand):
    help = (
        "Queue again what is on a cluster whose engine does not answer. Only when its containers"
        " are gone for certain: they could run twice otherwise."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("cluster", type=argument, metavar="CLUSTER", help="its id")

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = Cluster.objects.filter(pk=options["cluster"]).first()
        if cluster is None:
            raise CommandError(f"There is no cluster {options['cluster']}.")
        try:
            declare_lost(cluster, actor=ACTOR)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{cluster.name} is declared lost; `explain` says where its work went.")
