from django_filters import rest_framework as filters

from accounts.api import (
    IntegerFilter,
    SeveralChoicesFilter,
    SeveralFilter,
    SeveralIntegersFilter,
)
from deployments.models import Deployment, DeploymentQuerySet, RestartPolicy, Status


class DeploymentFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id")
    cluster = SeveralIntegersFilter(field_name="cluster_id", label="id of the cluster it is on")
    status = SeveralChoicesFilter(choices=Status.choices)
    status_code = SeveralFilter(label="the reason for its status, as programs know it")
    restart_policy = SeveralChoicesFilter(choices=RestartPolicy.choices)
    priority_min = IntegerFilter(field_name="priority", lookup_expr="gte")
    created_by = SeveralIntegersFilter(field_name="created_by_id", label="id of the user")
    created_by_departed = filters.ChoiceFilter(
        choices=[("true", "true"), ("false", "false")],
        method="by_departure",
        label="whether the user who submitted it is no member any more",
    )
    name = SeveralFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Deployment
        fields = [
            "organization", "cluster", "status", "status_code", "restart_policy", "priority_min",
            "created_by", "created_by_departed", "name",
        ]  # fmt: skip

    def by_departure(
        self, rows: DeploymentQuerySet, _name: str, departed: str
    ) -> DeploymentQuerySet:
        return rows.of_departed(departed == "true")
