from django_filters import rest_framework as filters

from accounts.api import IntegerFilter
from deployments.models import Deployment, RestartPolicy, Status


class DeploymentFilter(filters.FilterSet):  # type: ignore[misc]
    organization = IntegerFilter(field_name="organization_id")
    cluster = IntegerFilter(field_name="cluster_id", label="id of the cluster it is on")
    status = filters.ChoiceFilter(choices=Status.choices)
    status_code = filters.CharFilter(label="the reason for its status, as programs know it")
    restart_policy = filters.ChoiceFilter(choices=RestartPolicy.choices)
    priority_min = IntegerFilter(field_name="priority", lookup_expr="gte")
    created_by = IntegerFilter(field_name="created_by_id", label="id of the user")
    name = filters.CharFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Deployment
        fields = [
            "organization", "cluster", "status", "status_code", "restart_policy", "priority_min",
            "created_by", "name",
        ]  # fmt: skip
