from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.numbers import argument
from orgs.models import Organization
from scheduling.core.plan import Plan
from scheduling.core.planner import make_plan
from scheduling.cycle import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.snapshot import load


class Command(BaseCommand):
    help = "Run a scheduling cycle now, or print what it would decide."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--organization", type=argument, help="its id; without it, all of them")
        parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        for organization in self._organizations(options["organization"]):
            self.stdout.write(f"{organization.name} ({organization.pk})")
            if options["dry_run"]:
                self._print(organization)
            else:
                self._run(organization)

    def _organizations(self, wanted: int | None) -> list[Organization]:
        organizations = Organization.objects.order_by("pk")
        if wanted is not None:
            organizations = organizations.filter(pk=wanted)
            if not organizations.exists():
                raise CommandError(f"There is no organization {wanted}.")
        return list(organizations)

    def _run(self, organization: Organization) -> None:
        cycle = run_cycle(organization.pk, SchedulingCycle.Trigger.MANUAL)
        if cycle is None:
            raise CommandError(
                "Another cycle is under way, or its clusters or deployments are being changed: a"
                " further cycle has been asked for."
            )
        self.stdout.write(
            f"{cycle.ready} ready: {cycle.placed} placed, {cycle.left_pending} left pending,"
            f" {cycle.evicted} evicted, {cycle.moved} moved"
        )

    def _print(self, organization: Organization) -> None:
        plan = make_plan(load(organization.pk, lock=False).snapshot)
        rows = [("decision", "deployment", "cluster", "for", "reason"), *_rows(plan)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            self.stdout.write("  ".join((*cells, row[4])))


def _rows(plan: Plan) -> Iterator[tuple[str, str, str, str, str]]:
    for e in plan.evictions:
        yield "evict", str(e.deployment), str(e.cluster), str(e.for_ or "-"), e.reason
    for m in plan.moves:
        yield "move", str(m.deployment), f"{m.source} → {m.target}", str(m.for_ or "-"), m.reason
    for p in plan.placements:
        yield "place", str(p.deployment), str(p.cluster), "-", p.reason
    for h in plan.holds:
        yield "hold", str(h.deployment), "-", "-", h.reason
