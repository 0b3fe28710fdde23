from django import forms
from django.db.models import Q
from django_filters import rest_framework as filters

from deployments import labels
from deployments.choices import RestartPolicy, Status
from deployments.models import Deployment, DeploymentQuerySet
from hypervisor.base.numbers import whole
from hypervisor.rest.filters import (
    DescribedMixin,
    FlagFilter,
    IntegerFilter,
    SeveralChoicesFilter,
    SeveralFilter,
    SeveralFormField,
    SeveralIntegersFilter,
)

_TEXT = {"type": "string"}
"""Otherwise the schema would be that of the column, which is an object."""


class _LabelFormField(forms.CharField):
    def clean(self, value: object) -> labels.Wanted:
        try:
            return labels.wanted(super().clean(value))
        except ValueError as error:
            # The filters format a message with its parameters, and the caller's text may have a %.
            problem = {"problem": str(error)}
            raise forms.ValidationError("%(problem)s", "invalid", problem) from error


class _SeveralLabelsFormField(SeveralFormField):
    each = _LabelFormField


class SeveralLabelsFilter(DescribedMixin, SeveralFilter):
    """Filters by labels."""

    field_class = _SeveralLabelsFormField
    schema = _TEXT


class DeploymentFilter(filters.FilterSet):  # type: ignore[misc]
    id = SeveralIntegersFilter(label="its id")
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    cluster = SeveralIntegersFilter(
        field_name="cluster_id", label="id of the cluster that it is on"
    )
    node = SeveralIntegersFilter(field_name="node_id", label="id of the node that it is on")
    requested_cluster = SeveralIntegersFilter(
        field_name="requested_cluster_id", label="id of the only cluster that it may run on"
    )
    status = SeveralChoicesFilter(choices=Status.choices, label="its status")
    status_code = SeveralFilter(label="the machine-readable reason for its status")
    array = SeveralIntegersFilter(
        field_name="array_id", label="id of the array that it is an element of"
    )
    restart_policy = SeveralChoicesFilter(
        choices=RestartPolicy.choices, label="whether it is queued again after a failure of its own"
    )
    priority_min = IntegerFilter(
        field_name="priority", lookup_expr="gte", label="the lowest priority"
    )
    priority_max = IntegerFilter(
        field_name="priority", lookup_expr="lte", label="the highest priority"
    )
    created_by = SeveralFilter(
        field_name="created_by__username",
        method="by_people",
        label="`me`, or the id or the name of a user",
    )
    created_by_departed = FlagFilter(
        method="by_departure",
        label="whether the user who submitted it is no longer a member",
    )
    name = SeveralFilter(lookup_expr="icontains", label="part of the name")
    label = SeveralLabelsFilter(
        field_name="labels",
        method="by_labels",
        label="a label as `name=value`, or only its name; of several names, all are needed",
    )

    class Meta:
        model = Deployment
        fields = [
            "id", "organization", "cluster", "node", "requested_cluster", "status", "status_code",
            "array", "restart_policy", "priority_min", "priority_max", "created_by",
            "created_by_departed", "name", "label",
        ]  # fmt: skip

    def by_people(
        self, rows: DeploymentQuerySet, _name: str, people: list[str]
    ) -> DeploymentQuerySet:
        """Keep what any of them submitted; digits are an id, even if a user has that name."""
        ids = [pk for text in people if (pk := whole(text)) is not None]
        names = [text for text in people if whole(text) is None and text != "me"]
        if "me" in people:
            ids.append(self.request.user.pk)
        return rows.filter(Q(created_by__in=ids) | Q(created_by__username__in=names))

    def by_labels(
        self, rows: DeploymentQuerySet, _name: str, found: list[labels.Wanted]
    ) -> DeploymentQuerySet:
        return rows.filter(labels.condition(found))

    def by_departure(
        self, rows: DeploymentQuerySet, _name: str, departed: bool
    ) -> DeploymentQuerySet:
        return rows.of_departed(departed)
