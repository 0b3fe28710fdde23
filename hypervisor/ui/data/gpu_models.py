"""The GPUs of an organization by model, which the label `gpu.model` of a node names."""

from dataclasses import dataclass

from django.db.models import Count, Sum
from django.db.models.fields.json import KeyTextTransform

from clusters.models import Node
from deployments.models import Deployment
from hypervisor.ui.charts import Bar
from hypervisor.ui.data.amounts import bar
from orgs.models import Organization

LABEL = "gpu.model"


@dataclass(frozen=True, slots=True)
class OwnModel:
    """The GPUs of one model; its name is empty for those of nodes without the label."""

    name: str
    nodes: int
    bar: Bar


def own_models(organization: Organization) -> list[OwnModel]:
    """Return the models of the organization's nodes, those with the most GPUs first."""
    nodes = Node.objects.filter(cluster__organization=organization, gpu__gt=0).order_by()
    having = nodes.annotate(model=KeyTextTransform(LABEL, "labels")).values_list("model")
    active = Deployment.objects.filter(organization=organization, gpu__gt=0).active().order_by()
    taken = active.annotate(model=KeyTextTransform(LABEL, "node__labels")).values_list("model")
    allocated = dict(taken.annotate(Sum("gpu")))
    found = [
        OwnModel(model or "", count, bar("gpu", allocated.get(model, 0), gpus))
        for model, count, gpus in having.annotate(Count("pk"), Sum("gpu"))
    ]
    return sorted(found, key=lambda each: (-each.bar.capacity, each.name))
