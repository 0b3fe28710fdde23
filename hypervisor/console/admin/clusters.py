from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import action, display

from clusters import services
from clusters.models import (
    DIMENSIONS,
    Cluster,
    ClusterQuerySet,
    Connection,
    SimulatedContainer,
)
from clusters.resources import cores
from clusters.wakeups import request_cycle
from hypervisor.console.bases import HistoryAdmin, ServiceAdmin, permitted, preview_first
from hypervisor.console.pages.connect import ConnectPage

_COLOURS = {
    "active": "success",
    "cordoned": "warning",
    "draining": "warning",
    "no answer": "danger",
}


@admin.register(Cluster)
class ClusterAdmin(ServiceAdmin):
    list_display = ["page", "organization", "condition", "cpu", "ram", "gpu_devices", "driver"]
    list_display_links = None
    list_filter = ["state", "driver", "organization"]
    list_select_related = ["organization", "connection"]
    search_fields = ["name", "organization__name"]
    readonly_fields = ["state", "driver", "created_at"]
    autocomplete_fields = ["organization"]
    actions = ["cordon", "uncordon", "drain", "resize", "declare_lost", "run_cycle"]
    has_operate_permission = permitted("steer")
    has_resize_permission = permitted("resize")
    has_connect_permission = permitted("connect")
    actions_detail = ["connect"]

    def get_queryset(self, request: HttpRequest) -> ClusterQuerySet:
        return Cluster.objects.with_allocated()

    def get_readonly_fields(self, request: HttpRequest, obj: Cluster | None = None) -> list[str]:
        if obj is None:
            return self.readonly_fields
        # The capacity is changed by the action `resize`, which shows a preview first.
        return [*self.readonly_fields, "organization", *DIMENSIONS]

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("scheduling.run_schedulingcycle")

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(ConnectPage.as_view(model_admin=self))
        own = path("<int:pk>/connect/", page, name="clusters_cluster_connect")
        return [own, *super().get_urls()]

    @action(description="Engine…", permissions=["connect"])  # type: ignore[untyped-decorator]
    def connect(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:clusters_cluster_connect", args=[object_id]))

    @admin.display(description="Name", ordering="name")
    def page(self, cluster: Cluster) -> str:
        """Link to the cluster's page, which links to its form."""
        link = '<a class="font-semibold text-primary-600 dark:text-primary-400" href="{}">{}</a>'
        return format_html(link, reverse("cluster", args=[cluster.pk]), cluster)

    @display(description="State", ordering="state", label=_COLOURS)  # type: ignore[untyped-decorator]
    def condition(self, cluster: Cluster) -> str:
        connection = getattr(cluster, "connection", None)
        silent = connection is not None and connection.lost_contact_at is not None
        return "no answer" if silent else cluster.state

    @admin.display(description="CPU allocated", ordering="cpu_milli")
    def cpu(self, cluster: Cluster) -> str:
        return f"{cores(cluster.allocated_cpu_milli)} of {cores(cluster.cpu_milli)}"

    @admin.display(description="RAM allocated (GiB)", ordering="ram_mib")
    def ram(self, cluster: Cluster) -> str:
        return f"{cluster.allocated_ram_mib / 1024:,.0f} of {cluster.ram_mib / 1024:,.0f}"

    @admin.display(description="GPU allocated", ordering="gpu")
    def gpu_devices(self, cluster: Cluster) -> str:
        return f"{cluster.allocated_gpu} of {cluster.gpu}" if cluster.gpu else ""

    def save_model(self, request: HttpRequest, obj: Cluster, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        capacity = services.Capacity(*(getattr(obj, name) for name in DIMENSIONS))
        if change:
            services.update(obj, actor=actor, name=obj.name, capacity=capacity)
        else:
            created = services.create(
                actor=actor, organization=obj.organization, name=obj.name, capacity=capacity,
                bounded=False,
            )  # fmt: skip
            obj.pk = created.pk

    def delete_model(self, request: HttpRequest, obj: Cluster) -> None:
        services.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        self.carry_out(request, queryset, services.delete, "deleted")

    @admin.action(description="Cordon: place nothing new…", permissions=["operate"])
    def cordon(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> HttpResponse:
        return preview_first(request, "cordon", queryset)

    @admin.action(description="Uncordon: place deployments again…", permissions=["operate"])
    def uncordon(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> HttpResponse:
        return preview_first(request, "uncordon", queryset)

    @admin.action(description="Drain: move or requeue its deployments…", permissions=["operate"])
    def drain(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> HttpResponse:
        return preview_first(request, "drain", queryset)

    @admin.action(description="Resize…", permissions=["resize"])
    def resize(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> HttpResponse:
        return preview_first(request, "resize", queryset)

    @admin.action(description="Declare lost: requeue its deployments…", permissions=["operate"])
    def declare_lost(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> HttpResponse:
        return preview_first(request, "declare_lost", queryset)

    @admin.action(description="Request a scheduling cycle", permissions=["run"])
    def run_cycle(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        organizations = set(queryset.order_by().values_list("organization_id", flat=True))
        for organization_id in organizations:
            request_cycle(organization_id)
        count = len(organizations)
        self.message_user(request, f"Requested {count} cycle{'' if count == 1 else 's'}.")


@admin.register(Connection)
class ConnectionAdmin(HistoryAdmin):
    """The engine of each cluster; the cluster's engine page changes it."""

    list_display = ["cluster", "endpoint", "version", "probed_at", "lost_contact_at", "last_error"]
    list_select_related = ["cluster"]
    search_fields = ["cluster__name", "endpoint", "engine_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).defer("credentials")  # type: ignore[no-any-return]


@admin.register(SimulatedContainer)
class SimulatedContainerAdmin(HistoryAdmin):
    list_display = ["run_id", "cluster", "started_at", "exits_at", "exit_code"]
    list_filter = ["cluster"]
    list_select_related = ["cluster"]
    search_fields = ["run_id"]
