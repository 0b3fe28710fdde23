from django_filters import rest_framework as filters

from clusters.models import Cluster, Node
from hypervisor.rest.filters import SeveralChoicesFilter, SeveralFilter, SeveralIntegersFilter


class ClusterFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    state = SeveralChoicesFilter(choices=Cluster.State.choices, label="its state")
    name = SeveralFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Cluster
        fields = ["organization", "state", "name"]


class NodeFilter(filters.FilterSet):  # type: ignore[misc]
    state = SeveralChoicesFilter(choices=Node.State.choices, label="its state")
    name = SeveralFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Node
        fields = ["state", "name"]
