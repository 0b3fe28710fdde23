"""The forms in which people give what an action needs besides its subjects."""

from collections.abc import Collection
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.http import QueryDict

from clusters.capacity import Capacity
from clusters.models import Cluster, Node
from clusters.places import Places
from clusters.resources import cores, parse_cpu, parse_ram_mib
from hypervisor.base.forms import IntegerFormField
from scheduling.insight.operator_actions import Needs


class PriorityForm(forms.Form):
    priority = IntegerFormField(
        label="New priority",
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        widget=forms.NumberInput({"min": 1, "max": 100}),
        help_text="From 1 to 100; higher goes first.",
    )

    def options(self) -> dict[str, Any]:
        return {"priority": self.cleaned_data["priority"]}


class NodeField(forms.ModelChoiceField):  # type: ignore[type-arg]
    places = Places()

    def offer(self, nodes: QuerySet[Node]) -> None:
        self.places = Places.of_nodes(nodes)
        self.queryset = nodes

    def label_from_instance(self, obj: Node) -> str:
        return self.places.of_node(obj)


class TargetForm(forms.Form):
    target = forms.ModelChoiceField(
        Cluster.objects.none(),
        label="To cluster",
        required=False,
        empty_label="Any other cluster",
        help_text="Without a name, it moves to another cluster with free capacity. With a name, it"
        " may run only there from now on, and evicts lower priorities there if it has to.",
    )

    node = NodeField(
        Node.objects.none(),
        label="Or to node",
        required=False,
        empty_label="Any node",
        help_text="It moves to this node if that has enough free capacity, and may still run"
        " elsewhere. Only active nodes of active clusters are listed.",
    )

    def offer(self, organizations: Collection[int]) -> None:
        """Let people choose among the clusters and nodes of these organizations."""
        self.fields["target"].queryset = (  # type: ignore[attr-defined]
            Cluster.objects.filter(organization__in=organizations).order_by("name")
        )
        nodes = Node.objects.taking_deployments()
        nodes = nodes.filter(cluster__organization__in=organizations)
        cast("NodeField", self.fields["node"]).offer(nodes.order_by("cluster__name", "pk"))

    def clean(self) -> None:
        if self.cleaned_data.get("target") and self.cleaned_data.get("node"):
            self.add_error("node", "Choose either a cluster or a node.")

    def options(self) -> dict[str, Any]:
        return {"target": self.cleaned_data["node"] or self.cleaned_data["target"]}


class CapacityForm(forms.Form):
    cpu = forms.CharField(label="CPU", help_text="Cores, such as 128 or 0.5.")
    ram = forms.CharField(label="RAM", help_text="A quantity, such as 512Gi.")
    gpu = IntegerFormField(label="GPU", min_value=0, help_text="Devices.")

    def clean_cpu(self) -> int:
        try:
            return parse_cpu(self.cleaned_data["cpu"])
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def clean_ram(self) -> int:
        try:
            return parse_ram_mib(self.cleaned_data["ram"])
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def options(self) -> dict[str, Any]:
        names = ("cpu", "ram", "gpu")
        return {"capacity": Capacity(*(self.cleaned_data[name] for name in names))}


class NoteForm(forms.Form):
    """Why a person does something; the note is kept with what was done."""

    note = forms.CharField(required=False, max_length=500)


OptionForm = PriorityForm | TargetForm | CapacityForm


def option_form(needs: Needs, query: QueryDict, rows: Collection[Any]) -> OptionForm | None:
    """Return the form of the options for these subjects, bound once they are in the query."""
    if needs == Needs.PRIORITY:
        present = {row.priority for row in rows}
        initial = {"priority": present.pop()} if len(present) == 1 else None
        return PriorityForm(query if "priority" in query else None, initial=initial)
    if needs == Needs.CAPACITY:
        bound = query if {"cpu", "ram", "gpu"} & set(query) else None
        return CapacityForm(bound, initial=_present_capacity(rows))
    if needs == Needs.TARGET:
        form = TargetForm(query if {"target", "node"} & set(query) else None)
        form.offer({row.organization_id for row in rows})
        return form
    return None


def _present_capacity(rows: Collection[Cluster | Node]) -> dict[str, object]:
    for row in rows:
        gib, rest = divmod(row.ram_mib, 1024)
        ram = f"{row.ram_mib}Mi" if rest else f"{gib}Gi"
        return {"cpu": cores(row.cpu_milli), "ram": ram, "gpu": row.gpu}
    return {}
