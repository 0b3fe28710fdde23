from typing import Any, ClassVar, cast

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import services
from clusters.filters import ClusterFilter
from clusters.models import Cluster
from clusters.serializers import ClusterSerializer, ClusterUpdateSerializer
from orgs.models import Role
from orgs.permissions import organization_for
from orgs.viewsets import TenantViewSet


@extend_schema(tags=["clusters"])
class ClusterViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Cluster]):
    """The clusters on which an organization runs its deployments."""

    queryset = Cluster.objects.with_allocated().with_nodes().prefetch_related("connections")
    serializer_class = ClusterSerializer
    filterset_class = ClusterFilter
    ordering_fields: ClassVar = ["id", "name", "state", "created_at", "cpu_milli", "ram_mib", "gpu"]
    roles: ClassVar = dict.fromkeys(
        ("update", "partial_update", "destroy", "cordon", "uncordon", "drain"), Role.ADMIN
    )
    dry_runs: ClassVar = ("create", *roles)

    def create(self, request: Request) -> Response:
        serializer = cast("ClusterSerializer", self.get_serializer(data=request.data))
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        organization = organization_for(request.user, given.get("organization_id"), Role.ADMIN)
        cluster = services.create(
            actor=request.user.get_username(),
            organization=organization,
            name=given["name"],
            specs=serializer.specs(),
        )
        return self._answer(cluster, status=201)

    @extend_schema(request=ClusterUpdateSerializer)
    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        cluster = self.get_object()
        serializer = cast(
            "ClusterSerializer", self.get_serializer(cluster, data=request.data, partial=partial)
        )
        serializer.is_valid(raise_exception=True)
        services.update(
            cluster,
            actor=request.user.get_username(),
            name=serializer.validated_data.get("name", cluster.name),
            capacity=serializer.capacity(),
        )
        return self._answer(cluster)

    @extend_schema(request=ClusterUpdateSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        services.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(request=None, responses=ClusterSerializer)
    @action(detail=True, methods=["post"])
    def cordon(self, request: Request, pk: str) -> Response:
        """Stop placing deployments on the cluster; those that run there continue."""
        return self._change_state(services.cordon, request)

    @extend_schema(request=None, responses=ClusterSerializer)
    @action(detail=True, methods=["post"])
    def uncordon(self, request: Request, pk: str) -> Response:
        """Place deployments on the cluster again."""
        return self._change_state(services.uncordon, request)

    @extend_schema(request=None, responses=ClusterSerializer)
    @action(detail=True, methods=["post"])
    def drain(self, request: Request, pk: str) -> Response:
        """Stop placing deployments on the cluster, and move or requeue those that run there."""
        return self._change_state(services.drain, request)

    def _change_state(self, verb: Any, request: Request) -> Response:
        return self._answer(verb(self.get_object(), actor=request.user.get_username()))

    def _answer(self, cluster: Cluster, status: int = 200) -> Response:
        row = get_object_or_404(Cluster.objects.with_allocated().with_nodes(), pk=cluster.pk)
        return Response(self.get_serializer(row).data, status=status)
