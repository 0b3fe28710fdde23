from typing import Any

from django.core.management.base import CommandError, CommandParser

from hypervisor.base import commands
from orgs.management.naming import organization_named
from orgs.models import Organization
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.run import run_cycle
from scheduling.cycle.snapshot import load
from scheduling.management import plan_text
from scheduling.models import SchedulingCycle

_BUSY = (
    "another cycle is under way, or its clusters or deployments are being changed. Another cycle"
    " has been requested."
)
_COUNTS = ("ready", "placed", "left_pending", "evicted", "moved")


class Command(commands.Command):
    help = "Run a scheduling cycle now, or print what it would decide."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", help="its name or id; default: all organizations")
        parser.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
        commands.add_json(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        documents: list[dict[str, Any]] = []
        for organization in _organizations(options["organization"]):
            row: dict[str, Any] = {"organization": organization.pk, "name": organization.name}
            if options["dry_run"]:
                document, text = self._plan(organization)
            else:
                document, text = self._run(organization)
            documents.append(row | document)
            if not options["json"]:
                self.stdout.write(f"{organization.name} ({organization.pk}): {text}")
        if options["json"]:
            self.write_json(documents)
        if busy := [row["name"] for row in documents if row.get("cycle", 0) is None]:
            raise CommandError(f"No cycle for {', '.join(busy)}: {_BUSY}")

    def _run(self, organization: Organization) -> tuple[dict[str, Any], str]:
        cycle = run_cycle(organization.pk, SchedulingCycle.Trigger.MANUAL)
        if cycle is None:
            return {"cycle": None}, _BUSY
        counts = {name: getattr(cycle, name) for name in _COUNTS}
        return {"cycle": cycle.pk} | counts, (
            f"{cycle.ready} ready: {cycle.placed} placed, {cycle.left_pending} left pending,"
            f" {cycle.evicted} evicted, {cycle.moved} moved"
        )

    def _plan(self, organization: Organization) -> tuple[dict[str, Any], str]:
        loaded = load(organization.pk, lock=False)
        plan = next_plan(loaded)
        return plan_text.document(plan), plan_text.text(loaded.snapshot, plan)


def _organizations(wanted: str | None) -> list[Organization]:
    if wanted is not None:
        return [organization_named(wanted)]
    return list(Organization.objects.order_by("pk"))
