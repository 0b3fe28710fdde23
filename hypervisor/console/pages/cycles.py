"""The pages of cycles: each one's snapshot, decisions and replay, and the run of cycles by hand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.urls import reverse

from hypervisor.console.pages.base import TopLevelPage
from hypervisor.console.pages.replays import KINDS, PolicyForm, names_of, replayed
from hypervisor.ui.data.occupancy import occupancy
from orgs.models import Event, Organization
from scheduling.cycle.next_plan import next_plan
from scheduling.cycle.recording import Decision, Kind, unpack
from scheduling.cycle.recording import decisions as decisions_of
from scheduling.cycle.snapshot import load
from scheduling.models import SchedulingCycle
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.snapshot import Deployment as Planned
from scheduling.planner.snapshot import Snapshot

_PER_PAGE = 100
_PLANNED_AHEAD = 20


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    milliseconds: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Row:
    """A decision with its names and its reason."""

    decision: Decision
    name: str
    planned: Planned | None
    reason: str
    proved_minimal: bool
    for_name: str


class CyclePage(TopLevelPage):
    template_name = "console/cycle.html"
    refresh_s = None
    cycle: Any = None

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request, self.cycle))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cycle = self.cycle
        self.title = f"Cycle {cycle.pk} of {cycle.organization}"
        self.breadcrumbs = [
            ("Cycles", reverse("admin:scheduling_schedulingcycle_changelist")),
            (str(cycle.pk), None),
        ]
        recorded = self._recorded(bytes(cycle.record)) if cycle.record else {}
        return super().get_context_data(
            cycle=cycle,
            phases=_phases(cycle),
            milliseconds=(cycle.snapshot_us + cycle.plan_us + cycle.apply_us) / 1000,
            neighbours=_neighbours(cycle),
            **recorded,
            **kwargs,
        )

    def _recorded(self, record: bytes) -> dict[str, Any]:
        """Return the context that only a cycle with a record has: one that decided anything."""
        snapshot, by_id = unpack(record)
        decided = list(by_id.values())
        kind, code = self._chosen(decided)
        chosen = [d for d in decided if d.kind == kind and code in ("", d.code)]
        page = Paginator(sorted(chosen, key=lambda d: d.deployment), _PER_PAGE).get_page(
            self.request.GET.get("page")
        )
        asked = "replay" in self.request.GET
        form = PolicyForm(snapshot.policy, self.request.GET if asked else None)
        return {
            "snapshot": snapshot,
            "active": sum(d.cluster is not None for d in snapshot.deployments),
            "kind": kind,
            "code": code,
            "kinds": [(each, sum(d.kind == each for d in decided)) for each in KINDS],
            "codes": sorted(Counter(d.code for d in decided if d.kind is Kind.WAITS).items()),
            "page": page,
            "rows": _rows(self.cycle, snapshot, page),
            "clusters": occupancy(snapshot, decided),
            "names": {cluster.id: cluster.label for cluster in snapshot.clusters},
            "node_names": {n.id: n.label for cluster in snapshot.clusters for n in cluster.nodes},
            "form": form,
            "replay": replayed(record, snapshot, decided, form) if asked else None,
        }

    def _chosen(self, decided: Sequence[Decision]) -> tuple[str, str]:
        """Return the kind of decisions to show, and the wait reason to filter by, if any."""
        kind = self.request.GET.get("kind", "")
        if kind not in KINDS:
            present = {d.kind for d in decided}
            kind = next((each for each in KINDS if each in present), KINDS[-1])
        return kind, self.request.GET.get("code", "") if kind == Kind.WAITS else ""


@dataclass(frozen=True, slots=True)
class Due:
    """An organization with the plan of a cycle that would run now."""

    organization: Organization
    plan: Plan


class RunPage(TopLevelPage):
    """The confirmation before an operator runs cycles."""

    title = "Run scheduling cycles"
    template_name = "console/run.html"
    refresh_s = None
    permission_required = "scheduling.run_schedulingcycle"
    organizations: Sequence[int] = ()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cycles = reverse("admin:scheduling_schedulingcycle_changelist")
        self.breadcrumbs = [("Cycles", cycles), ("Run", None)]
        rows = Organization.objects.in_bulk(self.organizations)
        planned = self.organizations[:_PLANNED_AHEAD]
        return super().get_context_data(
            due=[Due(rows[pk], next_plan(load(pk, lock=False))) for pk in planned],
            more=len(self.organizations) - len(planned),
            back=cycles,
            **kwargs,
        )


def _phases(cycle: SchedulingCycle) -> list[Phase]:
    parts = (("snapshot", cycle.snapshot_us), ("plan", cycle.plan_us), ("apply", cycle.apply_us))
    whole = max(sum(part for _, part in parts), 1)
    phases, x = [], 0.0
    for name, part in parts:
        width = round(100 * part / whole, 2)
        phases.append(Phase(name, part / 1000, round(x, 2), width))
        x += width
    return phases


def _neighbours(cycle: SchedulingCycle) -> dict[str, int | None]:
    """Return the organization's cycles before and after this one."""
    cycles = SchedulingCycle.objects.filter(organization=cycle.organization_id)
    rows = cycles.values_list("pk", flat=True)
    return {
        "before": rows.filter(pk__lt=cycle.pk).order_by("-pk").first(),
        "after": rows.filter(pk__gt=cycle.pk).order_by("pk").first(),
    }


def _rows(cycle: SchedulingCycle, snapshot: Snapshot, page: Page[Decision]) -> list[Row]:
    decisions = list(page)
    planned = {row.id: row for row in snapshot.deployments}
    names = names_of(d for d in decisions)
    waiting = any(d.kind is Kind.WAITS for d in decisions)
    events = {} if waiting else _events(cycle, decisions)
    waits = {} if events or not decisions else _wait_reasons(snapshot)
    return [
        Row(
            decision=d,
            name=names.get(d.deployment, f"deployment {d.deployment}"),
            planned=planned.get(d.deployment),
            reason=events[d.deployment].reason if d.deployment in events else waits.get(d, ""),
            proved_minimal=d.deployment in events
            and bool(events[d.deployment].data.get("proved_minimal")),
            for_name=names.get(d.for_ or 0, f"deployment {d.for_}"),
        )
        for d in decisions
    ]


def _events(cycle: SchedulingCycle, decisions: Sequence[Decision]) -> dict[int, Event]:
    """Return the events that the cycle wrote for these deployments; all have its start time."""
    events = Event.objects.filter(
        subject=Event.Subject.DEPLOYMENT,
        subject_id__in=[d.deployment for d in decisions],
        time=cycle.started_at,
        kind__in=("placed", "moved", "evicted", "requeued"),
    )
    return {event.subject_id: event for event in events}


def _wait_reasons(snapshot: Snapshot) -> dict[Decision, str]:
    """Return the planner's sentence for each decision to let a deployment wait."""
    plan = make_plan(snapshot)
    decided = decisions_of(snapshot, plan)
    return {decided[wait.deployment]: wait.reason for wait in plan.wait_reasons}
