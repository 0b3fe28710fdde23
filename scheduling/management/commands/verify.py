from typing import Any

from django.core.management.base import BaseCommand, CommandError

from scheduling.verify import CHECKS, violations


class Command(BaseCommand):
    help = "Prove on the live database that no record contradicts another."

    def handle(self, *args: Any, **options: Any) -> None:
        found = list(violations())
        for sentence in found:
            self.stderr.write(self.style.ERROR(sentence))
        if found:
            raise CommandError(f"{len(found)} violations.")
        self.stdout.write(self.style.SUCCESS(f"All is well: {len(CHECKS)} checks, no violation."))
