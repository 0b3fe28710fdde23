from django_filters import rest_framework as filters

from deployments.models import Deployment, Status


class DeploymentFilter(filters.FilterSet):  # type: ignore[misc]
    organization = filters.NumberFilter(field_name="organization_id")
    cluster = filters.NumberFilter(field_name="cluster_id", label="id of the cluster it is on")
    status = filters.ChoiceFilter(choices=Status.choices)
    priority_min = filters.NumberFilter(field_name="priority", lookup_expr="gte")
    created_by = filters.NumberFilter(field_name="created_by_id", label="id of the user")
    name = filters.CharFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Deployment
        fields = ["organization", "cluster", "status", "priority_min", "created_by", "name"]
