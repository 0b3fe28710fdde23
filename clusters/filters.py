from django_filters import rest_framework as filters

from accounts.api import IntegerFilter
from clusters.models import Cluster


class ClusterFilter(filters.FilterSet):  # type: ignore[misc]
    organization = IntegerFilter(field_name="organization_id")
    state = filters.ChoiceFilter(choices=Cluster.State.choices)
    name = filters.CharFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Cluster
        fields = ["organization", "state", "name"]
