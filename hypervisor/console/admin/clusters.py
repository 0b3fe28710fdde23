from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import action

from clusters import node_rules, nodes, services
from clusters.capacity import Capacity
from clusters.models import (
    DIMENSIONS,
    Cluster,
    ClusterQuerySet,
    Connection,
    Node,
    NodeQuerySet,
    SimulatedContainer,
)
from clusters.nodes import NodeSpec
from clusters.wakeups import request_cycle
from hypervisor.console.bases import (
    HistoryAdmin,
    ServiceAdmin,
    badge_of,
    permitted,
    preview_first,
)
from hypervisor.console.pages.connect import ConnectPage
from hypervisor.ui.templatetags.blocks import number

Supply = Cluster | Node


def _link_to_page(cluster: Cluster) -> str:
    link = '<a class="{}" href="{}">{}</a>'
    look = "font-semibold whitespace-nowrap text-primary-600 dark:text-primary-400"
    return format_html(link, look, reverse("cluster", args=[cluster.pk]), cluster)


def _cpu(page: Any, row: Supply) -> str:
    return _of(row.allocated_cpu_milli / 1000, row.cpu_milli / 1000)


def _ram(page: Any, row: Supply) -> str:
    return _of(row.allocated_ram_mib / 1024, row.ram_mib / 1024)


def _gpu(page: Any, row: Supply) -> str:
    return _of(row.allocated_gpu, row.gpu) if row.gpu else "none"


def _of(allocated: float, capacity: float) -> str:
    return f"{number(allocated)} of {number(capacity)}"


@admin.register(Cluster)
class ClusterAdmin(ServiceAdmin):
    list_display = ["page", "organization", "condition", "cpu", "ram", "gpu_devices", "driver"]
    list_display_links = None
    list_filter = ["state", "driver", "organization"]
    list_select_related = ["organization"]
    search_fields = ["name", "organization__name"]
    readonly_fields = ["state", "driver", "created_at"]
    autocomplete_fields = ["organization"]
    fields = ["organization", "name", *DIMENSIONS, "state", "driver", "created_at"]
    actions = ["cordon", "uncordon", "drain", "resize", "declare_lost", "run_cycle"]
    has_operate_permission = permitted("steer")
    has_resize_permission = permitted("resize")
    has_connect_permission = permitted("connect")
    actions_detail = ["connect"]

    def get_queryset(self, request: HttpRequest) -> ClusterQuerySet:
        return Cluster.objects.with_allocated().prefetch_related("connections")

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
        return _link_to_page(cluster)

    @admin.display(description="State", ordering="state")
    def condition(self, cluster: Cluster) -> str:
        if cluster.lost_contact_at:
            return badge_of("unreachable", "no answer")
        return badge_of(cluster.state)

    cpu = admin.display(description="CPU allocated", ordering="cpu_milli")(_cpu)
    ram = admin.display(description="RAM allocated (GiB)", ordering="ram_mib")(_ram)
    gpu_devices = admin.display(description="GPU allocated", ordering="gpu")(_gpu)

    def save_model(self, request: HttpRequest, obj: Cluster, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        capacity = Capacity.of(obj)
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


@admin.register(Node)
class NodeAdmin(ServiceAdmin):
    """The nodes of all clusters; each cluster's page has its own, with their previews."""

    list_display = [
        "name",
        "of_cluster",
        "condition",
        "cpu",
        "ram",
        "gpu_devices",
        "labels_in_words",
    ]
    list_filter = ["state", "cluster"]
    list_select_related = ["cluster"]
    search_fields = ["name", "cluster__name"]
    readonly_fields = ["state", "engine_message", "restrictions", "created_at"]
    autocomplete_fields = ["cluster"]
    actions = [
        "cordon_node", "uncordon_node", "drain_node", "resize_node", "declare_node_lost",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> NodeQuerySet:
        return Node.objects.with_allocated()

    def get_fields(self, request: HttpRequest, obj: Node | None = None) -> list[str]:
        of_engine = ["engine_message", "restrictions"] if obj else []
        return ["cluster", "name", *DIMENSIONS, "labels", "state", *of_engine, "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Node | None = None) -> list[str]:
        if obj is None:
            return ["state", "created_at"]
        engines = ["name", "labels"] if node_rules.changing(obj.cluster) else []
        return [*self.readonly_fields, "cluster", *DIMENSIONS, *engines]

    def has_delete_permission(self, request: HttpRequest, obj: Node | None = None) -> bool:
        possible = obj is None or not node_rules.deleting(obj)
        return possible and super().has_delete_permission(request, obj)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("clusters.steer_cluster")

    def has_resize_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("clusters.resize_cluster")

    @admin.display(description="Restrictions")
    def restrictions(self, node: Node) -> str:
        """Return why the node can be neither changed nor deleted here."""
        return node_rules.deleting(node)

    @admin.display(description="Cluster", ordering="cluster__name")
    def of_cluster(self, node: Node) -> str:
        return _link_to_page(node.cluster)

    @admin.display(description="State", ordering="state")
    def condition(self, node: Node) -> str:
        return badge_of(node.state)

    @admin.display(description="Labels", empty_value="-")
    def labels_in_words(self, node: Node) -> str | None:
        return ", ".join(f"{name}={value}" for name, value in sorted(node.labels.items())) or None

    cpu = admin.display(description="CPU allocated", ordering="cpu_milli")(_cpu)
    ram = admin.display(description="RAM allocated (GiB)", ordering="ram_mib")(_ram)
    gpu_devices = admin.display(description="GPU allocated", ordering="gpu")(_gpu)

    def save_model(self, request: HttpRequest, obj: Node, form: Any, change: bool) -> None:
        actor = request.user.get_username()
        spec = NodeSpec(obj.name, Capacity.of(obj), obj.labels or {})
        if change:
            nodes.update(obj, actor=actor, spec=spec)
        else:
            obj.pk = nodes.add(obj.cluster, actor=actor, spec=spec, bounded=False).pk

    def delete_model(self, request: HttpRequest, obj: Node) -> None:
        nodes.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        self.carry_out(request, queryset, nodes.delete, "deleted")

    @admin.action(description="Cordon: place nothing new…", permissions=["operate"])
    def cordon_node(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse:
        return preview_first(request, "cordon_node", queryset)

    @admin.action(description="Uncordon: place deployments again…", permissions=["operate"])
    def uncordon_node(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse:
        return preview_first(request, "uncordon_node", queryset)

    @admin.action(description="Drain: move or requeue its deployments…", permissions=["operate"])
    def drain_node(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse:
        return preview_first(request, "drain_node", queryset)

    @admin.action(description="Declare lost: requeue its deployments…", permissions=["operate"])
    def declare_node_lost(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse:
        return preview_first(request, "declare_node_lost", queryset)

    @admin.action(description="Resize…", permissions=["resize"])
    def resize_node(self, request: HttpRequest, queryset: QuerySet[Node]) -> HttpResponse:
        return preview_first(request, "resize_node", queryset)


@admin.register(Connection)
class ConnectionAdmin(HistoryAdmin):
    """The engines of each cluster; the cluster's engine page changes them."""

    list_display = [
        "cluster",
        "node",
        "endpoint",
        "version",
        "probed_at",
        "lost_contact_at",
        "last_error",
    ]
    list_select_related = ["cluster", "node"]
    search_fields = ["cluster__name", "node__name", "endpoint", "engine_id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return super().get_queryset(request).defer("credentials")  # type: ignore[no-any-return]


@admin.register(SimulatedContainer)
class SimulatedContainerAdmin(HistoryAdmin):
    list_display = ["run_id", "cluster", "started_at", "exits_at", "exit_code"]
    list_filter = ["cluster"]
    list_select_related = ["cluster"]
    search_fields = ["run_id"]
