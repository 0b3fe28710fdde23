from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from clusters import nodes
from clusters.filters import NodeFilter
from clusters.models import Cluster, Node
from clusters.serializers import NodeSerializer
from orgs.models import Role
from orgs.permissions import require
from orgs.viewsets import TenantViewSet


@extend_schema(tags=["clusters"])
class NodeViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Node]):
    """The machines of a cluster."""

    queryset = (
        Node.objects.with_allocated()
        .select_related("cluster")
        .prefetch_related("cluster__connections")
    )
    serializer_class = NodeSerializer
    filterset_class = NodeFilter
    ordering_fields: ClassVar = ["id", "name", "state", "created_at", "cpu_milli", "ram_mib", "gpu"]
    roles: ClassVar = dict.fromkeys(
        ("update", "partial_update", "destroy", "cordon", "uncordon", "drain"), Role.ADMIN
    )
    dry_runs: ClassVar = ("create", *roles)

    def get_queryset(self) -> QuerySet[Node]:
        return super().get_queryset().filter(cluster=self._cluster)

    def organization_id_of(self, obj: Node) -> int:
        return obj.cluster.organization_id

    def create(self, request: Request, cluster_id: str) -> Response:
        """Add a node to a cluster."""
        cluster = self._cluster
        require(request.user, cluster.organization_id, Role.ADMIN)
        node = nodes.add(cluster, actor=request.user.get_username(), spec=self._given(request))
        return self._answer(node, status=201)

    def update(self, request: Request, cluster_id: str, pk: str, partial: bool = False) -> Response:
        node = self.get_object()
        spec = self._given(request, node, partial=partial)
        nodes.update(node, actor=request.user.get_username(), spec=spec)
        return self._answer(node)

    def partial_update(self, request: Request, cluster_id: str, pk: str) -> Response:
        return self.update(request, cluster_id, pk, partial=True)

    def destroy(self, request: Request, cluster_id: str, pk: str) -> Response:
        """Delete a node on which nothing runs."""
        nodes.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(request=None, responses=NodeSerializer)
    @action(detail=True, methods=["post"])
    def cordon(self, request: Request, cluster_id: str, pk: str) -> Response:
        """Stop placing deployments on the node; those that run there continue."""
        return self._change_state(nodes.cordon, request)

    @extend_schema(request=None, responses=NodeSerializer)
    @action(detail=True, methods=["post"])
    def uncordon(self, request: Request, cluster_id: str, pk: str) -> Response:
        """Place deployments on the node again."""
        return self._change_state(nodes.uncordon, request)

    @extend_schema(request=None, responses=NodeSerializer)
    @action(detail=True, methods=["post"])
    def drain(self, request: Request, cluster_id: str, pk: str) -> Response:
        """Stop placing deployments on the node, and move or requeue those that run there."""
        return self._change_state(nodes.drain, request)

    @property
    def _cluster(self) -> Cluster:
        """Return the cluster that the path names, or answer 404."""
        visible = Cluster.objects.visible_to(self.request.user)
        return get_object_or_404(visible, pk=self.kwargs["cluster_id"])

    def _given(
        self, request: Request, node: Node | None = None, *, partial: bool = False
    ) -> nodes.NodeSpec:
        serializer = cast(
            "NodeSerializer", self.get_serializer(node, data=request.data, partial=partial)
        )
        serializer.is_valid(raise_exception=True)
        return serializer.spec()

    def _change_state(self, verb: Any, request: Request) -> Response:
        return self._answer(verb(self.get_object(), actor=request.user.get_username()))

    def _answer(self, node: Node, status: int = 200) -> Response:
        row = get_object_or_404(Node.objects.with_allocated(), pk=node.pk)
        return Response(self.get_serializer(row).data, status=status)
