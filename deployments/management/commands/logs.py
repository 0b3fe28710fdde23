"""`manage.py logs DEPLOYMENT`: print the output of a deployment's container."""

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser

from deployments.logs import store
from deployments.management.naming import deployment_named
from hypervisor.base import commands
from hypervisor.base.errors import DomainError
from hypervisor.base.numbers import argument, count


class Command(commands.Command):
    help = "Print the output of a deployment's container."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deployment", metavar="DEPLOYMENT", help="its name or its id")
        parser.add_argument("--tail", type=count, metavar="N", help="print only the last N lines")
        parser.add_argument("--follow", action="store_true", help="continue until the run ends")
        parser.add_argument("--run", type=argument, metavar="RUN", help="id of an earlier run")

    def handle(self, *args: Any, **options: Any) -> None:
        deployment = deployment_named(options["deployment"])
        try:
            tail, run_id = options["tail"], options["run"]
            pieces: Iterable[bytes]
            if options["follow"]:
                pieces = store.follow(deployment, tail=tail, run_id=run_id)
            else:
                pieces = [store.read(store.run_of(deployment, run_id), tail=tail)]
        except DomainError as error:
            raise CommandError(error.detail) from error
        for piece in pieces:
            self.stdout.write(piece.decode(errors="replace"), ending="")
            self.stdout.flush()
