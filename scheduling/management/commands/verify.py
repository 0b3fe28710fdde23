from typing import Any

from django.core.management.base import CommandError, CommandParser

from deployments.runtime.comparison import Comparison, compare_engines
from hypervisor.base import commands
from scheduling.insight.verify import CHECKS, violations


class Command(commands.Command):
    help = (
        "Check that the records in the database agree with each other, and that the engines run"
        " what the database says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-engines", action="store_true", help="check only the database")
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        engines = Comparison() if options["no_engines"] else compare_engines()
        found = [*violations(), *engines.differences]
        if options["json"]:
            self.write_json(_document(found, engines))
        else:
            self._print(found, engines)
        if found:
            raise CommandError(f"{len(found)} violations.")

    def _print(self, found: list[str], engines: Comparison) -> None:
        for sentence in engines.silent:
            self.stderr.write(self.style.WARNING(f"Engine not compared: {sentence}"))
        for sentence in found:
            self.stderr.write(self.style.ERROR(sentence))
        if not found:
            self.stdout.write(
                self.style.SUCCESS(
                    f"All is well: {len(CHECKS)} checks, no violations. Engines that agree with the"
                    f" ledger: {engines.compared}; not compared: {len(engines.silent)}."
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
