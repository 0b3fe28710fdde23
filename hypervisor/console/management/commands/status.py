import shutil
import sys
from typing import Any

from django.core.management.base import CommandParser
from django.db import OperationalError

from hypervisor.base import commands
from hypervisor.console import status, status_text


class Command(commands.Command):
    help = (
        "Show whether the service works, how full each cluster is, and how many deployments wait"
        " for which reason. The exit code is 1 if one of the dashboard's alarms is critical."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = status.read()
        except OperationalError as error:
            if not options["json"]:
                raise
            note = str(error).splitlines()[0]
            part = {"name": "Database", "state": "down", "note": note}
            self.write_json({"healthy": False, "parts": [part]})
            sys.exit(1)
        if options["json"]:
            self.write_json(status_text.document(found))
        else:
            size = shutil.get_terminal_size()
            for line in status_text.lines(found, width=size.columns, height=size.lines):
                self.stdout.write(line)
        if not found.is_healthy:
            sys.exit(1)
