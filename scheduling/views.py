"""What only the scheduler can tell about deployments, on top of their own API."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from deployments import views
from deployments.serializers import DeploymentSerializer
from hypervisor.rest.parameters import flag
from scheduling.insight.explain import explain, forecast
from scheduling.serializers import ExplanationSerializer, ForecastSerializer


@extend_schema(tags=["deployments"])
class DeploymentViewSet(views.DeploymentViewSet):
    query_parameters: ClassVar = views.DeploymentViewSet.query_parameters | {"create": ("dry_run",)}

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "dry_run",
                bool,
                description="Store nothing: say where it would run now, whom it would preempt, or"
                " why it would wait.",
            )
        ],
        responses={200: ForecastSerializer, 201: DeploymentSerializer},
    )
    def create(self, request: Request) -> Response:
        """Submit a deployment: it waits in the queue until it is placed."""
        if not flag(request, "dry_run"):
            return super().create(request)
        organization, spec = self.read_submission(request)
        answer = forecast(created_by=caller(request), organization=organization, spec=spec)
        return Response(ForecastSerializer(answer).data)

    @extend_schema(responses=ExplanationSerializer)
    @action(detail=True, methods=["get"])
    def explain(self, request: Request, pk: str) -> Response:
        """Say why the deployment is where it is; of one that waits, for what."""
        return Response(ExplanationSerializer(explain(self.get_object())).data)
