from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from deployments.arrays import services
from deployments.arrays.models import Array
from deployments.arrays.serializers import ArraySerializer
from hypervisor.rest.filters import SeveralFilter, SeveralIntegersFilter
from orgs.models import Role
from orgs.tokens.grants import Scope
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
    own_roles: ClassVar = {"partial_update": Role.DEVELOPER}
    roles: ClassVar = {"partial_update": Role.ADMIN}
    scopes: ClassVar = {"partial_update": Scope.SUBMIT}
    dry_runs: ClassVar = ("partial_update",)
    ordering_fields: ClassVar = ["id", "name", "created_at"]

    @classmethod
    def owner_id_of(cls, obj: Array) -> int | None:
        return obj.created_by_id

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change how many elements of an array may be active at once.

        If more are active, none of them is stopped; no further one starts until fewer are.
        """
        array = self.get_object()
        serializer = self.get_serializer(array, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if "at_once" in serializer.validated_data:
            services.limit(array, **serializer.validated_data)
        row: Any = get_object_or_404(self.get_queryset(), pk=array.pk)
        return Response(self.get_serializer(row).data)
