from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from hypervisor.base import commands
from hypervisor.base.numbers import argument, whole
from scheduling.cycle.recording import Difference, replay
from scheduling.models import SchedulingCycle


class Command(commands.Command):
    help = "Plan a recorded cycle again: the same plan, or what other settings would have done."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cycle", type=argument, help="its id")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="another setting",
        )
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        cycle = SchedulingCycle.objects.filter(pk=options["cycle"]).first()
        if cycle is None or cycle.record is None:
            raise CommandError(f"No cycle {options['cycle']} that decided anything is on record.")
        settings = dict(_setting(text) for text in options["set"])
        try:
            differences = replay(bytes(cycle.record), settings)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(
                {
                    "cycle": cycle.pk,
                    "settings": settings,
                    "differences": [asdict(difference) for difference in differences],
                }
            )
        else:
            self._tell(differences)
        if differences and not settings:
            raise CommandError("The plan is not the one that was carried out.")

    def _tell(self, differences: list[Difference]) -> None:
        for difference in differences:
            self.stdout.write(str(difference))
        self.stdout.write(f"{len(differences)} differences." if differences else "The same plan.")


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--set {text}: give KEY=VALUE, such as min_run_seconds=60.")
    return name, value if (number := whole(value)) is None else number
