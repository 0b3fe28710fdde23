from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from deployments.usage import reading
from deployments.usage.serializers import UsageSerializer
from hypervisor.rest.parameters import StrictParametersMixin
from orgs.models import Organization


@extend_schema(tags=["organizations"])
class UsageView(StrictParametersMixin):
    @extend_schema(operation_id="get_usage", responses=UsageSerializer)
    def get(self, request: Request, organization_id: str) -> Response:
        """Show the capacity of an organization, and how much of it each user has allocated."""
        visible = Organization.objects.visible_to(request.user)
        organization = get_object_or_404(visible, pk=organization_id)
        return Response(UsageSerializer(reading.read(organization)).data)
