from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action

from accounts.console import HistoryAdmin, permitted
from orgs.models import Organization
from scheduling.cycle import run_cycle
from scheduling.models import SchedulingCycle
from scheduling.tasks import due_organizations


@admin.register(SchedulingCycle)
class SchedulingCycleAdmin(HistoryAdmin):
    list_display = [
        "id", "organization", "trigger", "started_at", "ready", "placed", "evicted", "moved",
        "left_pending", "set_aside", "milliseconds",
    ]  # fmt: skip
    list_filter = ["trigger", "organization"]
    list_select_related = ["organization"]
    exclude = ["record"]
    actions = ["run_for_these"]
    actions_list = ["run_all"]
    has_run_permission = permitted("run")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SchedulingCycle]:
        return super().get_queryset(request).defer("record")  # type: ignore[no-any-return]

    @admin.display(description="Took (ms)")
    def milliseconds(self, cycle: SchedulingCycle) -> str:
        return f"{(cycle.snapshot_us + cycle.plan_us + cycle.apply_us) / 1000:.1f}"

    @admin.action(description="Run a cycle of these organizations now", permissions=["run"])
    def run_for_these(self, request: HttpRequest, queryset: QuerySet[SchedulingCycle]) -> None:
        self._run(request, sorted(set(queryset.order_by().values_list("organization", flat=True))))

    @action(description="Run all due cycles now", url_path="run-all", permissions=["run"])  # type: ignore[untyped-decorator]
    def run_all(self, request: HttpRequest) -> HttpResponse:
        self._run(request, due_organizations())
        return HttpResponseRedirect(reverse("admin:scheduling_schedulingcycle_changelist"))

    def _run(self, request: HttpRequest, organizations: list[int]) -> None:
        names = Organization.objects.in_bulk(organizations)
        for organization_id in organizations:
            cycle = run_cycle(organization_id, SchedulingCycle.Trigger.MANUAL)
            told = f"{cycle.placed} placed, {cycle.evicted} evicted" if cycle else "superseded"
            self.message_user(request, f"{names[organization_id]}: {told}.")
        if not organizations:
            self.message_user(request, "No organization has anything to place or to drain.")
