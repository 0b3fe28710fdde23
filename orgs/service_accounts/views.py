from typing import ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from orgs.models import Organization, Role, ServiceAccount
from orgs.permissions import require
from orgs.serializers import DepartureSerializer
from orgs.service_accounts import services
from orgs.service_accounts.serializers import ServiceAccountSerializer
from orgs.services import remove_member
from orgs.viewsets import TenantViewSet


@extend_schema(tags=["organizations"])
class ServiceAccountViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ServiceAccount]):
    """The service accounts of an organization."""

    queryset = ServiceAccount.objects.with_role().select_related("user", "created_by")
    serializer_class = ServiceAccountSerializer
    ordering_fields: ClassVar = ["id", "name", "created_at"]
    roles: ClassVar = {"destroy": Role.ADMIN}

    def get_queryset(self) -> QuerySet[ServiceAccount]:
        return super().get_queryset().filter(organization=self._organization)

    def create(self, request: Request, organization_id: str) -> Response:
        """Add a service account: a member that is a program, without a password.

        Make tokens for it with `POST /tokens`. If an account of this name was deleted before, its
        user returns, with the deployments that it submitted.
        """
        organization = self._organization
        require(request.user, organization.pk, Role.ADMIN)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        account = services.create(
            organization, by=caller(request), name=given["name"], role=Role(given["role"])
        )
        row = self.get_queryset().get(pk=account.pk)
        return Response(self.get_serializer(row).data, status=201)

    @extend_schema(responses={200: DepartureSerializer, 204: None})
    def destroy(self, request: Request, organization_id: str, pk: str) -> Response:
        """Delete a service account and revoke its tokens.

        If deployments of the account have not ended, the response counts them. They continue, like
        those of a member who leaves.
        """
        account = self.get_object()
        left = remove_member(
            account.organization,
            actor=request.user.get_username(),
            authority=caller(request),
            user_id=account.user_id,
        )
        return Response({"left": left}) if left else Response(status=204)

    @property
    def _organization(self) -> Organization:
        """Return the organization that the path names, or answer 404."""
        visible = Organization.objects.visible_to(self.request.user)
        return get_object_or_404(visible, pk=self.kwargs["organization_id"])
