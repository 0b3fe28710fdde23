from http import HTTPStatus
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from accounts import closing
from accounts.authentication import caller
from accounts.idempotency import record_needed
from accounts.throttles import Registration, ScopedThrottle
from accounts.views import PublicView
from hypervisor.base.errors import Invalid, NotFound
from hypervisor.rest.parameters import PAGE, StrictParametersMixin
from orgs import services
from orgs.models import ApiToken, Organization, Role
from orgs.serializers import (
    CallerSerializer,
    DepartureSerializer,
    InviteSerializer,
    InviteTermsSerializer,
    JoinSerializer,
    MemberSerializer,
    MembershipSerializer,
    OrganizationSerializer,
    RegistrationSerializer,
    UserSerializer,
)
from orgs.tenancy import memberships_of
from orgs.tokens.grants import grant_of, require_log_in
from orgs.viewsets import RepeatableMixin, TenantViewSet


@extend_schema(tags=["authentication"])
class RegisterView(StrictParametersMixin, PublicView):
    throttle_classes = (ScopedThrottle,)
    throttle_scope = Registration.throttle_scope
    own_errors: ClassVar = {"": (HTTPStatus.FORBIDDEN,)}

    @extend_schema(
        operation_id="register", request=RegistrationSerializer, responses={201: UserSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a user; with an invite code, the user becomes a member of its organization.

        Operators can close registration, or require an invite code.
        """
        services.check_registration_is_open()
        serializer = RegistrationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            user = services.register(**serializer.validated_data)
        except NotFound as error:
            raise Invalid(error.detail, attr=error.attr, code=error.code) from error
        return Response(UserSerializer(user).data, status=201)


@extend_schema(tags=["authentication"])
class MeView(StrictParametersMixin):
    of_account: ClassVar = ("delete",)

    @extend_schema(operation_id="get_me", responses=CallerSerializer)
    def get(self, request: Request) -> Response:
        """Return the caller with all memberships, as far as the caller's token allows."""
        user = caller(request)
        memberships = list(memberships_of(user).select_related("organization"))
        for membership in memberships:
            membership.role = Role(membership.role).within(grant_of(user))
        shown: Any = {name: getattr(user, name) for name in ("id", "username", "email")}
        shown["memberships"] = memberships
        shown["token"] = request.auth if isinstance(request.auth, ApiToken) else None
        return Response(CallerSerializer(shown).data)

    @extend_schema(operation_id="delete_me", request=None, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Delete the caller's account, with all memberships, tokens and log-ins, for good.

        Deployments stay with their organizations. The username appears in the history, and nobody
        else gets it. The last owner of an organization gets a 409 that names it. This needs the
        access token of a log-in: an API token gets a 403.
        """
        require_log_in(request.user)
        closing.close(caller(request))
        return Response(status=204)


@extend_schema(tags=["organizations"])
class JoinView(RepeatableMixin, StrictParametersMixin):
    throttle_classes = (ScopedThrottle,)
    throttle_scope = "join"
    of_account: ClassVar = ("post",)

    @extend_schema(
        operation_id="join_organization", request=JoinSerializer, responses=MembershipSerializer
    )
    def post(self, request: Request) -> Response:
        """Become a developer of the organization with this invite code."""
        serializer = JoinSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        membership = services.join(caller(request), **serializer.validated_data)
        record_needed(membership.organization_id, Role.VIEWER)
        return Response(MembershipSerializer(membership).data)


@extend_schema(tags=["organizations"])
class OrganizationViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Organization]):
    """The organizations, which own clusters and deployments."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer
    ordering_fields: ClassVar = ["id", "name", "created_at"]
    of_account: ClassVar = ("create",)
    query_parameters: ClassVar = {"members": PAGE}
    bodies: ClassVar = (*StrictParametersMixin.bodies, "member", "regenerate_invite")
    roles: ClassVar = {
        "update": Role.ADMIN,
        "partial_update": Role.ADMIN,
        "regenerate_invite": Role.ADMIN,
        "destroy": Role.OWNER,
    }

    def get_queryset(self) -> QuerySet[Organization]:
        return Organization.objects.as_seen_by(self.request.user)

    def organization_id_of(self, obj: Organization) -> int:
        return obj.pk

    def to_keep(self, data: Any) -> Any:
        """Store no invite code: a replay reads the organization again."""
        return {"id": data.get("id")} if "invite_code" in data else data

    def from_kept(self, data: Any) -> Any:
        if self.action == "create":
            return self.get_serializer(self.get_queryset().get(pk=data["id"])).data
        return InviteSerializer(self.get_object()).data

    def create(self, request: Request) -> Response:
        """Create an organization, which the caller then owns."""
        organization = services.create(owner=caller(request), name=self._given(request)["name"])
        record_needed(organization.pk, Role.VIEWER)
        return self._answer(organization, status=201)

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        organization = self.get_object()
        name = self._given(request, organization, partial=partial).get("name", organization.name)
        services.rename(organization, actor=request.user.get_username(), name=name)
        return self._answer(organization)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        services.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(
        operation_id="regenerate_invite",
        request=InviteTermsSerializer,
        responses=InviteSerializer,
    )
    @action(detail=True, methods=["post"], url_path="regenerate-invite")
    def regenerate_invite(self, request: Request, pk: str) -> Response:
        """Replace the invite code: the old one stops working at once.

        The new one can have an end (`expires_at` or `expires_in_s`) and a maximum number of people
        that can join with it (`max_uses`). An expired or used-up code gets the same error as an
        unknown one.
        """
        organization = self.get_object()
        terms = InviteTermsSerializer(data=request.data)
        terms.is_valid(raise_exception=True)
        organization = services.regenerate_invite(
            organization, actor=request.user.get_username(), **terms.validated_data
        )
        return Response(InviteSerializer(organization).data)

    @extend_schema(operation_id="list_members", responses=MemberSerializer(many=True))
    @action(detail=True, methods=["get"], serializer_class=MemberSerializer)
    def members(self, request: Request, pk: str) -> Response:
        """List the organization's members."""
        rows = self.get_object().memberships.select_related("user__service_account")
        return self.paginated(rows, MemberSerializer)

    @extend_schema(operation_id="change_role", request=MemberSerializer, responses=MemberSerializer)
    @action(
        detail=True,
        methods=["patch"],
        url_path="members/(?P<user_id>[0-9]{1,18})",
        serializer_class=MemberSerializer,
    )
    def member(self, request: Request, pk: str, user_id: str) -> Response:
        """Give a member another role."""
        organization = self.get_object()
        given = self._given(request, partial=True)
        if "role" not in given:
            members = organization.memberships.select_related("user")
            return Response(MemberSerializer(get_object_or_404(members, user_id=user_id)).data)
        member = services.change_role(
            organization,
            actor=request.user.get_username(),
            authority=caller(request),
            user_id=int(user_id),
            role=Role(given["role"]),
        )
        return Response(MemberSerializer(member).data)

    @extend_schema(
        operation_id="remove_member", request=None, responses={200: DepartureSerializer, 204: None}
    )
    @member.mapping.delete
    def remove_member(self, request: Request, pk: str, user_id: str) -> Response:
        """Remove a member; members may remove themselves.

        If deployments of the member have not ended, the response counts them. They continue: list
        them with `created_by_departed=true`, and stop them or hand them over.
        """
        organization = self.get_object()
        left = services.remove_member(
            organization,
            actor=request.user.get_username(),
            authority=caller(request),
            user_id=int(user_id),
        )
        return Response({"left": left}) if left else Response(status=204)

    def _given(
        self, request: Request, organization: Organization | None = None, *, partial: bool = False
    ) -> dict[str, Any]:
        serializer: BaseSerializer[Any] = self.get_serializer(
            organization, data=request.data, partial=partial
        )
        serializer.is_valid(raise_exception=True)
        given: dict[str, Any] = serializer.validated_data
        return given

    def _answer(self, organization: Organization, status: int = 200) -> Response:
        row = get_object_or_404(self.get_queryset(), pk=organization.pk)
        return Response(self.get_serializer(row).data, status=status)
