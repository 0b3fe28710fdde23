"""Adding a cluster and its nodes, renaming a cluster, and deleting both."""

from functools import cached_property
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.serializers import BaseSerializer

from clusters import node_rules, nodes, services
from clusters.capacity import Capacity
from clusters.labels import MAX_NAME
from clusters.models import DIMENSIONS, Node
from clusters.nodes import MAX_NODES, NodeSpec
from clusters.resources import MAX_GPU
from clusters.serializers import ClusterSerializer, NodeSerializer
from deployments.models import Deployment
from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.clusters.base import DELETE, DELETE_NODE, RENAME, STEER, OfCluster
from hypervisor.ui.data.gpu_models import LABEL
from orgs.models import Membership, Organization, Role
from orgs.permissions import require

_MODEL_HELP = f"Such as a100-80gb: the label {LABEL} of the node, which deployments can require."


class NodeForm(ServiceForm):
    """A node with its resources."""

    serializer_class: ClassVar[type[BaseSerializer[Any]] | None] = NodeSerializer
    shown_at = {"cpu_milli": "cpu", "ram_mib": "ram", LABEL: "gpu_model"}

    name = forms.CharField(label="Name", max_length=MAX_NAME, help_text="Such as node-3.")
    cpu = forms.CharField(label="CPU", help_text="Cores, such as 64 or 0.5.")
    ram = forms.CharField(label="RAM", help_text="A quantity, such as 256Gi.")
    gpu = IntegerFormField(label="GPUs", min_value=0, max_value=MAX_GPU, initial=0)
    gpu_model = forms.CharField(
        label="Model of the GPUs", max_length=63, required=False, help_text=_MODEL_HELP
    )

    def body(self) -> dict[str, Any]:
        given = self.cleaned_data
        model = given["gpu_model"]
        return {
            "name": given["name"],
            "cpu": given["cpu"],
            "ram_mib": given["ram"],
            "gpu": given["gpu"],
            **({"labels": {LABEL: model}} if model else {}),
        }


class ClusterForm(NodeForm):
    """A cluster of equal nodes."""

    serializer_class = ClusterSerializer
    shown_at = {**NodeForm.shown_at, "count": "nodes"}
    field_order = ("organization", "name", "nodes")

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

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("cpu", "ram", "gpu"):
            self.fields[name].label = f"{self.fields[name].label} of each node"

    def body(self) -> dict[str, Any]:
        count = self.cleaned_data["nodes"] or 1
        node = super().body() | {"name": "node"} | ({"count": count} if count > 1 else {})
        return {"name": self.cleaned_data["name"], "nodes": [node]}


class NewClusterPage(FormPage):
    template_name = "portal/clusters/new.html"
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
        able = self._able
        field = form.fields["organization"]
        field.queryset = Organization.objects.filter(pk__in=able).order_by("name")  # type: ignore[attr-defined]
        if len(able) == 1:
            field.initial, field.widget = able[0], forms.HiddenInput()
        return form

    @cached_property
    def _own(self) -> list[Membership]:
        return list(Membership.objects.filter(user=self.person))

    @property
    def _able(self) -> list[int]:
        """The ids of the organizations to which the person may add clusters."""
        return [m.organization_id for m in self._own if Role(m.role).rank >= STEER.rank]

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
        offered = {"belongs": bool(self._own), "may_add": bool(self._able)}
        return super().get_context_data(**offered, **kwargs)


class AddNodePage(OfCluster, FormPage):
    title = "Add a node"
    least = STEER
    button = "Add"
    form_class = NodeForm
    in_columns = True

    def act(self, form: NodeForm) -> str:
        given = form.given
        amounts = Capacity(*(given[name] for name in DIMENSIONS))
        spec = NodeSpec(given["name"], amounts, given["labels"])
        made = nodes.add(self.cluster, actor=self.person.username, spec=spec)
        messages.success(self.request, f"{made.name} takes deployments now.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = self.path_to(self.title)
        return super().get_context_data(**kwargs)


class ClusterNameForm(ServiceForm):
    """The name of a cluster, checked as in a PATCH of it."""

    serializer_class = ClusterSerializer
    partial = True

    name = forms.CharField(label="Name", max_length=100)


class RenameClusterPage(OfCluster, FormPage):
    least = RENAME
    button = "Rename"
    form_class = ClusterNameForm

    def make_form(self, data: Any = None) -> ClusterNameForm:
        return ClusterNameForm(data, initial={"name": self.cluster.name})

    def act(self, form: ClusterNameForm) -> str:
        cluster, name = self.cluster, form.given["name"]
        services.update(
            cluster, actor=self.person.username, name=name, capacity=Capacity.of(cluster)
        )
        messages.success(self.request, f"It is now called {name}.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Rename {self.cluster.name}"
        self.breadcrumbs = self.path_to("Rename")
        return super().get_context_data(**kwargs)


class DeleteNodePage(OfCluster, ConfirmPage):
    least = DELETE_NODE
    button = "Delete"
    node: Node

    def prepare(self) -> None:
        """Read the node and its cluster. Raises Forbidden if the person's role is too low."""
        rows = Node.objects.visible_to(self.person)
        self.node = get_object_or_404(rows, pk=self.kwargs["pk"])
        self.read(self.node.cluster_id)

    @property
    def consequences(self) -> list[str]:
        refused = node_rules.deleting(self.node)
        return [
            f"{self.node.name} is deleted from {self.cluster.name}.",
            refused or "It is refused while something runs there: drain it first, and wait.",
        ]

    def act(self) -> str:
        nodes.delete(self.node, actor=self.person.username)
        messages.success(self.request, f"{self.node.name} is deleted.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Delete {self.node.name}"
        self.breadcrumbs = self.path_to(self.title)
        return super().get_context_data(**kwargs)


class DeleteClusterPage(OfCluster, ConfirmPage):
    least = DELETE
    button = "Delete"

    @property
    def consequences(self) -> list[str]:
        return [
            f"{self.cluster.name} is deleted with its nodes.",
            "It is refused while something runs there: drain it first, and wait.",
        ]

    def act(self) -> str:
        services.delete(self.cluster, actor=self.person.username)
        messages.success(self.request, f"{self.cluster.name} is deleted.")
        return reverse("portal:organization", args=[self.cluster.organization_id])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Delete {self.cluster.name}"
        self.breadcrumbs = self.path_to("Delete")
        return super().get_context_data(**kwargs)
