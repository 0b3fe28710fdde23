from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from orgs.models import ApiToken, Role
from orgs.permissions import organization_for
from orgs.tokens import services
from orgs.tokens.grants import Scope, grant_of, require_account
from orgs.tokens.serializers import ApiTokenSerializer, NewApiTokenSerializer
from orgs.viewsets import TenantViewSet


@extend_schema(tags=["authentication"])
class TokenViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ApiToken]):
    """The caller's API tokens, for programs."""

    queryset = ApiToken.objects.all()
    serializer_class = ApiTokenSerializer
    ordering_fields: ClassVar = ["id", "name", "created_at", "expires_at", "last_used_at"]
    of_account: ClassVar = ("create",)
    scopes: ClassVar = {"destroy": Scope.READ}

    def to_keep(self, data: Any) -> Any:
        """Store no token: a replay reads its description again."""
        return {"id": data["id"]}

    def from_kept(self, data: Any) -> Any:
        return self._shown(self.get_queryset().get(pk=data["id"]), None)

    @extend_schema(responses={201: NewApiTokenSerializer})
    def create(self, request: Request) -> Response:
        """Create an API token, which only this response shows.

        It allows what its user may do, limited by `scopes` and perhaps to one `organization`, until
        it expires or is revoked. A new password and a deactivation of the user revoke it.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        organization_id = given["organization_id"]
        organization = (
            organization_for(request.user, organization_id, Role.VIEWER)
            if organization_id is not None
            else None
        )
        token, text = services.create(
            caller(request),
            name=given["name"],
            scope=given["scopes"],
            organization=organization,
            days=given["expires_in_days"],
        )
        return Response(self._shown(token, text), status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke an API token. A token may always revoke itself."""
        token = self.get_object()
        grant = grant_of(request.user)
        if grant is None or grant.token != token.pk:
            require_account(request.user)
        services.revoke([token])
        return Response(status=204)

    def _shown(self, token: ApiToken, text: str | None) -> Any:
        return NewApiTokenSerializer(token, context={"token": text}).data
