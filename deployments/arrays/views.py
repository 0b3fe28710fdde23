from typing import ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from deployments.arrays.models import Array
from deployments.arrays.serializers import ArraySerializer
from hypervisor.rest.filters import SeveralFilter, SeveralIntegersFilter
from orgs.viewsets import TenantViewSet


class ArrayFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    name = SeveralFilter(lookup_expr="icontains", label="part of the name")

    class Meta:
        model = Array
        fields = ["organization", "name"]


@extend_schema(tags=["deployments"])
class ArrayViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Array]):
    """Arrays of deployments, each with its progress in one row."""

    queryset = Array.objects.with_counts()
    serializer_class = ArraySerializer
    filterset_class = ArrayFilter
    ordering_fields: ClassVar = ["id", "name", "created_at"]
