import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hypervisor.base import commands
from hypervisor.rest.documents import load
from scheduling.planner.pipeline import make_plan
from scheduling.planner.snapshot import Snapshot


class Command(commands.Command):
    help = "Read a snapshot as JSON and print the plan. Needs no database."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the snapshot; - reads standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            plan = make_plan(_read(options["file"]))
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        self.stdout.write(json.dumps(plan.to_json(), indent=2, ensure_ascii=False))


def _read(name: str) -> Snapshot:
    """Raise a ValueError that names the field if the file is not a snapshot."""
    text = sys.stdin.read().encode() if name == "-" else Path(name).read_bytes()
    return Snapshot.from_json(load(text))
