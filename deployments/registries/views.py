from typing import Any, ClassVar, cast

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from deployments.registries import services
from deployments.registries.models import Registry
from deployments.registries.serializers import RegistrySerializer
from hypervisor.rest.filters import SeveralFilter, SeveralIntegersFilter
from orgs.models import Role
from orgs.permissions import organization_for
from orgs.viewsets import TenantViewSet


class RegistryFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    host = SeveralFilter(label="the host")

    class Meta:
        model = Registry
        fields = ["organization", "host"]


@extend_schema(tags=["registries"])
class RegistryViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Registry]):
    """The registries from which engines pull an organization's images with a log-in."""

    queryset = Registry.objects.all()
    serializer_class = RegistrySerializer
    filterset_class = RegistryFilter
    ordering_fields: ClassVar = ["id", "host", "created_at", "updated_at"]
    roles: ClassVar = dict.fromkeys(("update", "partial_update", "destroy"), Role.ADMIN)

    def create(self, request: Request) -> Response:
        """Store the log-in to a registry."""
        serializer = self._valid(request)
        given = serializer.validated_data
        organization = organization_for(request.user, given.get("organization_id"), Role.ADMIN)
        registry = services.add(
            actor=request.user.get_username(),
            organization=organization,
            host=given["host"],
            **serializer.given(),
        )
        return Response(self.get_serializer(registry).data, status=201)

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        registry = self.get_object()
        serializer = self._valid(request, registry, partial=partial)
        registry = services.update(
            registry, actor=request.user.get_username(), **serializer.given()
        )
        return Response(self.get_serializer(registry).data)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete the log-in to a registry. Images that engines have already pulled remain there."""
        services.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    def _valid(self, request: Request, *instance: Registry, **options: Any) -> RegistrySerializer:
        serializer = self.get_serializer(*instance, data=request.data, **options)
        serializer.is_valid(raise_exception=True)
        return cast("RegistrySerializer", serializer)
