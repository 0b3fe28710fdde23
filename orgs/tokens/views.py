from typing import Any, ClassVar

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from hypervisor.base.errors import Invalid, NotFound
from hypervisor.rest.filters import SeveralIntegersFilter
from orgs.models import ApiToken, Role, ServiceAccount
from orgs.permissions import organization_for, require
from orgs.tokens import services
from orgs.tokens.grants import Scope, grant_of, require_account
from orgs.tokens.serializers import ApiTokenSerializer, NewApiTokenSerializer
from orgs.viewsets import TenantViewSet


class TokenFilter(filters.FilterSet):  # type: ignore[misc]
    service_account = SeveralIntegersFilter(
        field_name="user__service_account", label="id of the service account that it is for"
    )

    class Meta:
        model = ApiToken
        fields = ["service_account"]


@extend_schema(tags=["authentication"])
class TokenViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[ApiToken]):
    """API tokens, for programs: the caller's, and those of service accounts."""

    queryset = ApiToken.objects.select_related("user__service_account")
    serializer_class = ApiTokenSerializer
    filterset_class = TokenFilter
    ordering_fields: ClassVar = ["id", "name", "created_at", "expires_at", "last_used_at"]
    # Both calls check more, because what they need depends on whose token it is.
    scopes: ClassVar = {"create": Scope.ADMIN, "destroy": Scope.READ}

    def to_keep(self, data: Any) -> Any:
        """Store no token: a replay reads its description again."""
        return {"id": data["id"]}

    def from_kept(self, data: Any) -> Any:
        return self._shown(self.get_queryset().get(pk=data["id"]), None)

    @extend_schema(responses={201: NewApiTokenSerializer})
    def create(self, request: Request) -> Response:
        """Create an API token, which only this response shows.

        It allows what its user may do, limited by `scopes` and perhaps to one `organization`, until
        it expires or is revoked. A new password and a deactivation of the user revoke it. Admins
        make tokens for the service accounts of their organizations.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        token, text = services.create(
            caller(request),
            name=given["name"],
            scope=given["scopes"],
            days=given["expires_in_days"],
            **self._holder(given["service_account_id"], given["organization_id"]),
        )
        return Response(self._shown(token, text), status=201)

    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke an API token. A token may always revoke itself."""
        token, grant = self.get_object(), grant_of(request.user)
        if grant is None or grant.token != token.pk:
            self._require_authority(token)
        services.revoke([token], actor=caller(request).username)
        return Response(status=204)

    def _holder(self, account_id: int | None, organization_id: int | None) -> dict[str, Any]:
        """Return what limits the new token: a service account, an organization or nothing."""
        user = self.request.user
        if account_id is None:
            require_account(user)
            if organization_id is None:
                return {}
            return {"organization": organization_for(user, organization_id, Role.VIEWER)}
        accounts = ServiceAccount.objects.visible_to(user).select_related("user", "organization")
        account = accounts.filter(pk=account_id).first()
        if account is None:
            raise NotFound(f"Service account {account_id} does not exist.", attr="service_account")
        require(user, account.organization_id, Role.ADMIN)
        if organization_id not in (None, account.organization_id):
            raise Invalid(
                f"The service account belongs to organization {account.organization_id}: leave"
                " `organization` out.",
                attr="organization",
            )
        return {"account": account}

    def _require_authority(self, token: ApiToken) -> None:
        if token.user.is_service:
            require(self.request.user, token.user.service_account.organization_id, Role.ADMIN)
        else:
            require_account(self.request.user)

    def _shown(self, token: ApiToken, text: str | None) -> Any:
        return NewApiTokenSerializer(token, context={"token": text}).data
