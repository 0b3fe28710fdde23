from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from deployments import labels, services
from deployments.choices import Status
from deployments.models import Dependency, Deployment
from deployments.runtime.models import Run
from hypervisor.base.numbers import whole
from hypervisor.console.bases import (
    HistoryAdmin,
    ServiceAdmin,
    Uncounted,
    badge_of,
    permitted,
    preview_first,
)
from hypervisor.console.pages.deployments import DeploymentPage
from hypervisor.ui.templatetags.blocks import duration
from hypervisor.ui.templatetags.wording import age
from hypervisor.ui.templatetags.wording import request as request_in_short


class ReadOnlyInline(TabularInline):  # type: ignore[misc]
    extra = 0
    can_delete = False
    related: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.related)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RunInline(ReadOnlyInline):
    model = Run
    fk_name = "deployment"
    related = ("cluster", "node")
    fields = [
        "cluster",
        "node",
        "placed_at",
        "started_at",
        "released_at",
        "ended_at",
        "outcome",
        "exit_code",
        "devices",
    ]


class DependencyInline(ReadOnlyInline):
    model = Dependency
    fk_name = "deployment"
    related = ("on",)
    fields = ["on", "condition"]


class LabelFilter(TextFilter):  # type: ignore[misc]
    title = "labels, such as team=vision, run=42"
    parameter_name = "label"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Deployment]
    ) -> QuerySet[Deployment]:
        texts = (self.value() or "").replace(",", " ").split()
        if not texts:
            return queryset
        try:
            return queryset.filter(labels.condition([labels.wanted(text) for text in texts]))
        except ValueError as error:
            messages.error(request, str(error))
            return queryset.none()


class ArrayFilter(TextFilter):  # type: ignore[misc]
    title = "the id of their array"
    parameter_name = "array"

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Deployment]
    ) -> QuerySet[Deployment]:
        text = (self.value() or "").strip()
        return queryset.filter(array=whole(text) or 0) if text else queryset


class DepartedFilter(DropdownFilter):  # type: ignore[misc]
    title = "submitted by a former member"
    parameter_name = "departed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Not ended, submitted by a former member")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Deployment]
    ) -> QuerySet[Deployment]:
        if self.value() != "yes":
            return queryset
        left = Deployment.objects.live().of_departed()
        return queryset.filter(pk__in=left.values("pk"))


def _place(row: Deployment | Run) -> str:
    """Return the cluster and the node, or one of them if they have the same name."""
    names = [str(each) for each in (row.cluster, row.node) if each]
    return ", ".join(dict.fromkeys(names))


@admin.register(Deployment)
class DeploymentAdmin(ServiceAdmin):
    """A deployment has a page of its own; `?edit` is the form."""

    list_display = [
        "called", "organization", "state", "priority", "requests", "place", "why",
    ]  # fmt: skip
    list_filter = [
        "status", "held", "organization", "cluster", "preemptible", LabelFilter, ArrayFilter,
        DepartedFilter,
    ]  # fmt: skip
    list_select_related = ["organization", "cluster", "node"]
    search_fields = ["=id", "name", "image", "created_by__username"]
    ordering = ["-id"]
    paginator = Uncounted
    inlines = [RunInline, DependencyInline]
    actions = [
        "hold",
        "release",
        "reprioritize",
        "preempt",
        "requeue",
        "move",
        "cancel",
        "stop",
        "start",
    ]
    # Without `env`, which may contain secrets.
    fieldsets = [
        (
            "State",
            {
                "fields": [
                    "status", "status_reason", "status_code", "held", "cluster", "node",
                    "exit_code", "restarts",
                ]
            },
        ),
        ("Priority", {"fields": ["priority", "preemptible", "preemptions"]}),
        (
            "Specification",
            {
                "fields": [
                    "name", "labels", "organization", "created_by", "image", "command", "run_as",
                    "requests", "ephemeral_storage_mib",
                    "requested_cluster", "require", "prefer", "max_runtime_s",
                    "on_dependency_failure", "restart_policy", "max_restarts",
                ]
            },
        ),
        (
            "Times",
            {
                "fields": [
                    "created_at", "queued_at", "ready_after", "placed_at", "started_at",
                    "checkpoint_at", "finished_at",
                ]
            },
        ),
    ]  # fmt: skip
    # The priority is changed by an action, which shows a preview first.
    _changeable = ("name", "preemptible")
    has_hold_permission = permitted("hold")
    has_preempt_permission = permitted("preempt")
    has_reprioritize_permission = permitted("reprioritize")
    has_stop_permission = permitted("stop")
    has_start_permission = permitted("start")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        deployment = self.get_object(request, object_id) if request.method == "GET" else None
        if deployment is None or "edit" in request.GET:
            return super().change_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        page = DeploymentPage.as_view(model_admin=self, deployment=deployment)
        answer: HttpResponse = page(request)
        return answer

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        related = ("organization", "cluster", "node", "requested_cluster", "created_by")
        rows: QuerySet[Deployment] = super().get_queryset(request)
        return rows.defer("env").select_related(*related)

    def get_readonly_fields(self, request: HttpRequest, obj: Deployment | None = None) -> list[str]:
        shown = [name for _, options in self.fieldsets for name in options["fields"]]
        return [name for name in shown if name not in self._changeable]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description="Status", ordering="status")
    def state(self, deployment: Deployment) -> str:
        held = deployment.held and deployment.status == Status.PENDING
        return badge_of("held" if held else deployment.status)

    @admin.display(description="Deployment", ordering="pk")
    def called(self, deployment: Deployment) -> str:
        return format_html(
            '<span class="whitespace-nowrap">{}</span><br> <span class="opacity-60">{}</span>',
            deployment.name,
            deployment.pk,
        )

    @admin.display(description="Place", ordering="cluster")
    def place(self, deployment: Deployment) -> str:
        return _place(deployment)

    @admin.display(description="Requests")
    def requests(self, deployment: Deployment) -> str:
        return request_in_short(deployment)

    @admin.display(description="Why", ordering="queued_at")
    def why(self, deployment: Deployment) -> str:
        reason = deployment.status_reason
        if deployment.status == Status.PENDING:
            reason = f"Waiting for {age(deployment.queued_at)}. {reason}"
        return format_html('<span class="a-reason" title="{0}">{0}</span>', reason)

    def save_model(
        self,
        request: HttpRequest,
        obj: Deployment,
        form: Any,
        change: bool,
    ) -> None:
        services.adjust(
            obj,
            actor=request.user.get_username(),
            **{name: form.cleaned_data[name] for name in self._changeable},
        )

    def delete_model(self, request: HttpRequest, obj: Deployment) -> None:
        services.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> None:
        self.carry_out(request, queryset, services.delete, "deleted")

    @admin.action(description="Hold…", permissions=["hold"])
    def hold(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "hold", queryset)

    @admin.action(description="Release: let compete again…", permissions=["hold"])
    def release(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "release", queryset)

    @admin.action(description="Change priority…", permissions=["reprioritize"])
    def reprioritize(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "reprioritize", queryset)

    @admin.action(description="Preempt: evict, with a back-off…", permissions=["preempt"])
    def preempt(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "preempt", queryset)

    @admin.action(description="Requeue: evict, without a back-off…", permissions=["preempt"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "requeue", queryset)

    @admin.action(description="Move to another cluster or node…", permissions=["preempt"])
    def move(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "move", queryset)

    @admin.action(description="Cancel…", permissions=["stop"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "cancel", queryset)

    @admin.action(description="Stop…", permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "stop", queryset)

    @admin.action(description="Start again…", permissions=["start"])
    def start(self, request: HttpRequest, queryset: QuerySet[Deployment]) -> HttpResponse:
        return preview_first(request, "start", queryset)


@admin.register(Run)
class RunAdmin(HistoryAdmin):
    list_display = [
        "id", "deployment", "place", "result", "placed_at", "ran_for", "preempted_by",
    ]  # fmt: skip
    list_filter = ["outcome", "cluster"]
    list_select_related = ["deployment", "cluster", "node", "preempted_by"]
    search_fields = ["=id", "=deployment__id", "deployment__name"]

    @admin.display(description="Place", ordering="cluster")
    def place(self, run: Run) -> str:
        return _place(run) or "a deleted cluster"

    @admin.display(description="Outcome", ordering="outcome")
    def result(self, run: Run) -> str:
        if not run.outcome:
            return badge_of("running" if run.started_at else "starting")
        code = "" if run.exit_code is None else f"exit code {run.exit_code}"
        return format_html("{} {}", badge_of(run.outcome), code)

    @admin.display(description="Ran for")
    def ran_for(self, run: Run) -> str:
        """Return how long its container ran, up to now if it still runs."""
        if run.started_at is None:
            return "not started"
        return (
            age(run.started_at) if run.ended_at is None else duration(run.ended_at - run.started_at)
        )
