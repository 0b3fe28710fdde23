from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from deployments.comparison import Comparison, compare_engines
from scheduling.verify import CHECKS, violations


class Command(BaseCommand):
    help = (
        "Prove on the live database that no record contradicts another, and on the engines that"
        " they run what it says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-engines", action="store_true", help="look at the database alone, ask no engine"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        engines = Comparison() if options["no_engines"] else compare_engines()
        found = [*violations(), *engines.differences]
        for sentence in engines.silent:
            self.stderr.write(self.style.WARNING(f"Engine not compared: {sentence}"))
        for sentence in found:
            self.stderr.write(self.style.ERROR(sentence))
        if found:
            raise CommandError(f"{len(found)} violations.")
        self.stdout.write(
            self.style.SUCCESS(
                f"All is well: {len(CHECKS)} checks, no violation. Engines that run what the ledger"
                f" says: {engines.compared}; not compared: {len(engines.silent)}."
            )
        )
