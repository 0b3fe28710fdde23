from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action

from hypervisor.base.durations import with_milliseconds
from hypervisor.base.numbers import whole
from hypervisor.console.bases import HistoryAdmin, permitted
from hypervisor.console.pages.cycles import CyclePage, RunPage
from hypervisor.ui.templatetags.blocks import number
from orgs.models import Organization
from scheduling.cycle.run import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.tasks import due_organizations


@admin.register(SchedulingCycle)
class SchedulingCycleAdmin(HistoryAdmin):
    list_display = [
        "id", "organization", "trigger", "started_at", "ready", "did", "left_pending", "took",
    ]  # fmt: skip
    list_filter = ["trigger", "organization"]
    list_select_related = ["organization"]
    exclude = ["record", "idle"]
    actions = ["run_for_these"]
    actions_list = ["run_all"]
    has_run_permission = permitted("run")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SchedulingCycle]:
        rows = super().get_queryset(request)
        return rows.select_related("organization").defer("record")  # type: ignore[no-any-return]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        cycle = self.get_object(request, object_id) if request.method == "GET" else None
        if cycle is None:
            return super().change_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        return CyclePage.as_view(model_admin=self, cycle=cycle)(request)

    @admin.display(description="Did")
    def did(self, cycle: SchedulingCycle) -> str:
        counts = {
            "placed": cycle.placed,
            "evicted": cycle.evicted,
            "moved": cycle.moved,
            "preemptions suspended": cycle.suspended,
        }
        parts = [f"{number(count)} {what}" for what, count in counts.items() if count]
        return ", ".join(parts) or "nothing"

    @admin.display(description="Took")
    def took(self, cycle: SchedulingCycle) -> str:
        return with_milliseconds((cycle.snapshot_us + cycle.plan_us + cycle.apply_us) / 1e6)

    @admin.action(description="Run cycles of these organizations now", permissions=["run"])
    def run_for_these(self, request: HttpRequest, queryset: QuerySet[SchedulingCycle]) -> None:
        self._run(request, sorted(set(queryset.order_by().values_list("organization", flat=True))))

    @action(description="Run all due cycles…", url_path="run-all", permissions=["run"])  # type: ignore[untyped-decorator]
    def run_all(self, request: HttpRequest) -> HttpResponse:
        """Show the plans of the due cycles, or of one organization's; run them on a POST."""
        asked = whole(request.GET.get("organization", ""))
        chosen = None if asked is None else Organization.objects.filter(pk=asked)
        due = due_organizations() if chosen is None else list(chosen.values_list("pk", flat=True))
        if request.method == "POST":
            self._run(request, due)
            return HttpResponseRedirect(reverse("admin:scheduling_schedulingcycle_changelist"))
        return RunPage.as_view(model_admin=self, organizations=due)(request)

    def _run(self, request: HttpRequest, organizations: list[int]) -> None:
        names = Organization.objects.in_bulk(organizations)
        for organization_id in organizations:
            cycle = run_cycle(organization_id, SchedulingCycle.Trigger.MANUAL)
            outcome = "busy; another cycle has been requested"
            if cycle:
                outcome = f"{cycle.placed} placed, {cycle.evicted} evicted"
            self.message_user(request, f"{names[organization_id]}: {outcome}.")
        if not organizations:
            self.message_user(request, "No organization has anything to place, drain or cancel.")
