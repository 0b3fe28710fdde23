"""`manage.py logs ID`: what a deployment's container wrote."""

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import DomainError
from accounts.numbers import argument, count
from deployments import output
from deployments.models import Deployment


class Command(BaseCommand):
    help = "Print what a deployment's container wrote."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("deployment", type=argument, metavar="ID")
        parser.add_argument("--tail", type=count, metavar="N", help="only the last N lines")
        parser.add_argument("--follow", action="store_true", help="go on until the run ends")
        parser.add_argument("--run", type=argument, metavar="RUN", help="an earlier run")

    def handle(self, *args: Any, **options: Any) -> None:
        deployment = Deployment.objects.filter(pk=options["deployment"]).first()
        if deployment is None:
            raise CommandError(f"There is no deployment {options['deployment']}.")
        try:
            tail, run_id = options["tail"], options["run"]
            pieces: Iterable[bytes]
            if options["follow"]:
                pieces = output.follow(deployment, tail=tail, run_id=run_id)
            else:
                pieces = [output.read(output.run_of(deployment, run_id), tail=tail)]
        except DomainError as error:
            raise CommandError(error.detail) from error
        for piece in pieces:
            self.stdout.write(piece.decode(errors="replace"), ending="")
            self.stdout.flush()
