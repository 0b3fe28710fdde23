from typing import Any

from django.core.management.base import CommandError, CommandParser

from hypervisor.base import commands
from hypervisor.base.numbers import argument
from scheduling.cycle.recording import Difference, replay
from scheduling.management.set_option import add_set
from scheduling.models import SchedulingCycle
from scheduling.planner.policy import Policy


class Command(commands.Command):
    help = "Plan a recorded cycle again, to check it or to try other thresholds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("cycle", type=argument, help="its id")
        add_set(parser, [each for each in Policy.thresholds() if each.replayable])
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        cycle = SchedulingCycle.objects.filter(pk=options["cycle"]).first()
        if cycle is None or cycle.record is None:
            raise CommandError(f"There is no record of a cycle {options['cycle']}.")
        settings = dict(options["set"])
        try:
            differences = replay(bytes(cycle.record), settings)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(
                {
                    "cycle": cycle.pk,
                    "settings": settings,
                    "differences": [difference.to_json() for difference in differences],
                }
            )
        else:
            self._print(differences)
        if differences and not settings:
            raise CommandError("The plan differs from the one that was applied.")

    def _print(self, differences: list[Difference]) -> None:
        for difference in differences:
            self.stdout.write(str(difference))
        self.stdout.write(f"{len(differences)} differences." if differences else "The same plan.")
