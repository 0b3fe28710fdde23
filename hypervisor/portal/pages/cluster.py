"""One cluster as a member sees it, and adding one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from clusters import services
from clusters.capacity import Capacity
from clusters.models import Cluster
from clusters.nodes import MAX_NODES
from clusters.resources import MAX_GPU
from clusters.serializers import ClusterSerializer
from clusters.views import ClusterViewSet
from deployments.models import OCCUPYING, Deployment
from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.portal.actions import FormPage
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.steering import NEEDED, OFFERED
from hypervisor.ui.data.amounts import bars
from hypervisor.ui.data.cluster_data import drain_of, reservations_on, waits_on
from hypervisor.ui.data.gpu_models import LABEL
from hypervisor.ui.data.nodes import nodes_of
from orgs.models import Membership, Organization, Role
from orgs.permissions import require, role_of
from scheduling.insight.operator_actions import ACTIONS, Action

STEER = ClusterViewSet.roles["cordon"]
"""The lowest role that may add, change, cordon and drain clusters."""

_SHOWN = 100


class ClusterForm(ServiceForm):
    serializer_class = ClusterSerializer
    shown_at = {"cpu_milli": "cpu", "ram_mib": "ram", LABEL: "gpu_model", "count": "nodes"}

    organization = forms.ModelChoiceField(
        Organization.objects.none(), label="Organization", empty_label=None
    )
    name = forms.CharField(label="Name", max_length=100, help_text="Such as rack-1.")
    nodes = IntegerFormField(
        label="Number of nodes",
        min_value=1,
        max_value=MAX_NODES,
        initial=1,
        help_text="Machines with equal resources. A deployment runs on one of them.",
    )
    cpu = forms.CharField(label="CPU of each node", help_text="Cores, such as 64 or 0.5.")
    ram = forms.CharField(label="RAM of each node", help_text="A quantity, such as 256Gi.")
    gpu = IntegerFormField(label="GPUs of each node", min_value=0, max_value=MAX_GPU, initial=0)
    gpu_model = forms.CharField(
        label="Model of the GPUs",
        max_length=63,
        required=False,
        help_text=f"Such as a100-80gb: the label {LABEL} of the nodes, which deployments can"
        " require.",
    )

    def body(self) -> dict[str, Any]:
        given = self.cleaned_data
        node: dict[str, Any] = {
            "name": "node",
            "cpu": given["cpu"],
            "ram_mib": given["ram"],
            "gpu": given["gpu"] or 0,
        }
        if given["gpu_model"]:
            node["labels"] = {LABEL: given["gpu_model"]}
        if given["nodes"] > 1:
            node["count"] = given["nodes"]
        return {"name": given["name"], "nodes": [node]}


class NewClusterPage(FormPage):
    title = "Add a cluster"
    section = "organizations"
    button = "Add"
    lead = (
        "A cluster is a group of machines that one engine runs containers on. Its engine is"
        " simulated until an operator connects a real one: containers start, run and end as real"
        " ones do, but compute nothing."
    )
    form_class = ClusterForm
    in_columns = True

    def prepare(self) -> None:
        """Raise Forbidden if the person may add no cluster to the organization."""
        asked = self.request.GET.get("organization")
        if asked is not None:
            require(self.person, whole(asked) or 0, STEER)

    @property
    def back(self) -> str:
        asked = whole(self.request.GET.get("organization", ""))
        if asked is None:
            return reverse("portal:organizations")
        return reverse("portal:organization", args=[asked])

    def make_form(self, data: Any = None) -> ClusterForm:
        asked = self.request.GET.get("organization")
        form = ClusterForm(data, initial={"organization": asked} if asked else None)
        mine = Membership.objects.filter(user=self.person)
        able = [m.organization_id for m in mine if Role(m.role).rank >= STEER.rank]
        field = form.fields["organization"]
        field.queryset = Organization.objects.filter(pk__in=able).order_by("name")  # type: ignore[attr-defined]
        if len(able) == 1:
            field.initial, field.widget = able[0], forms.HiddenInput()
        return form

    def act(self, form: ClusterForm) -> str:
        organization: Organization = form.cleaned_data["organization"]
        require(self.person, organization.pk, STEER)
        made = services.create(
            actor=self.person.username,
            organization=organization,
            name=form.given["name"],
            specs=form.given["nodes"],
        )
        messages.success(self.request, f"{made.name} takes deployments now.")
        if not Deployment.objects.filter(created_by=self.person).exists():
            return reverse("portal:start")
        return reverse("portal:cluster", args=[made.pk])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = (
            ("Organizations", reverse("portal:organizations")),
            (self.title, None),
        )
        return super().get_context_data(**kwargs)


class ClusterPage(PortalPage):
    section = "organizations"
    template_name = "portal/clusters/cluster.html"
    refresh_s = 5
    cluster: Cluster
    role: Role

    def prepare(self) -> None:
        rows = Cluster.objects.visible_to(self.person).with_allocated()
        rows = rows.select_related("organization").prefetch_related("connections__node")
        self.cluster = get_object_or_404(rows, pk=self.kwargs["pk"])
        self.role = role_of(self.person, self.cluster.organization_id)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        cluster, now = self.cluster, timezone.now()
        organization = cluster.organization
        self.title = cluster.name
        self.breadcrumbs = (
            ("Organizations", reverse("portal:organizations")),
            (organization.name, reverse("portal:organization", args=[organization.pk])),
            (cluster.name, None),
        )
        reservations = reservations_on(cluster, waits_on(cluster, now))
        there = cluster.deployments.filter(status__in=OCCUPYING).select_related(
            "node", "created_by"
        )
        return super().get_context_data(
            cluster=cluster,
            bars=bars(
                Capacity.of(cluster),
                Capacity.allocated_on(cluster),
                Capacity.total(reservation.amounts for reservation in reservations),
            ),
            nodes=nodes_of(cluster, reservations, self._may),
            node_count=cluster.nodes.count(),
            drain=drain_of(cluster),
            silent=[row for row in cluster.connections.all() if row.lost_contact_at],
            reservations=reservations,
            deployments=list(there.order_by("-priority", "pk")[:_SHOWN]),
            steps=self._steps(),
            **kwargs,
        )

    def _steps(self) -> list[Action]:
        """Return the actions that the person may take on the cluster in its present state."""
        offered = map(ACTIONS.__getitem__, OFFERED[Cluster.State(self.cluster.state)])
        return [each for each in offered if self._may(each) and not each.objection(self.cluster)]

    def _may(self, action: Action) -> bool:
        least = NEEDED.get(action.name)
        return least is not None and self.role.rank >= least.rank
