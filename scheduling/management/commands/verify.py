from typing import Any

from django.core.management.base import CommandError, CommandParser

from deployments.runtime.comparison import Comparison, compare_engines
from hypervisor.base import commands
from scheduling.insight.verify import CHECKS, violations


class Command(commands.Command):
    help = (
        "Prove on the live database that no record contradicts another, and on the engines that"
        " they run what it says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-engines", action="store_true", help="look at the database alone, ask no engine"
        )
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        engines = Comparison() if options["no_engines"] else compare_engines()
        found = [*violations(), *engines.differences]
        if options["json"]:
            self.write_json(_document(found, engines))
        else:
            self._tell(found, engines)
        if found:
            raise CommandError(f"{len(found)} violations.")

    def _tell(self, found: list[str], engines: Comparison) -> None:
        for sentence in engines.silent:
            self.stderr.write(self.style.WARNING(f"Engine not compared: {sentence}"))
        for sentence in found:
            self.stderr.write(self.style.ERROR(sentence))
        if not found:
            self.stdout.write(
                self.style.SUCCESS(
                    f"All is well: {len(CHECKS)} checks, no violation. Engines that run what the"
                    f" ledger says: {engines.compared}; not compared: {len(engines.silent)}."
                )
            )


def _document(found: list[str], engines: Comparison) -> dict[str, Any]:
    return {
        "healthy": not found,
        "checks": len(CHECKS),
        "violations": found,
        "engines_compared": engines.compared,
        "engines_not_compared": engines.silent,
    }
