from typing import Any, ClassVar

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from deployments.models import NoticeMessage, NoticeRule
from deployments.notices import services
from deployments.notices.kinds import Channel, Scope
from deployments.notices.models import NoticeRuleQuerySet
from deployments.notices.serializers import (
    NewNoticeRuleSerializer,
    NoticeMessageSerializer,
    NoticeRuleSerializer,
)
from hypervisor.rest.filters import FlagFilter, SeveralChoicesFilter, SeveralIntegersFilter
from orgs.models import Role
from orgs.permissions import organization_for
from orgs.tokens.grants import require_account
from orgs.viewsets import SecretOnceMixin, TenantViewSet


class NoticeRuleFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    channel = SeveralChoicesFilter(choices=Channel.choices, label="how it sends")
    enabled = FlagFilter(label="whether it holds")

    class Meta:
        model = NoticeRule
        fields = ["organization", "channel", "enabled"]


class NoticeMessageFilter(filters.FilterSet):  # type: ignore[misc]
    status = SeveralChoicesFilter(choices=NoticeMessage.Status.choices, label="its status")
    rule = SeveralIntegersFilter(
        field_name="recipient__rule_id", label="id of the rule to whose address it goes"
    )

    class Meta:
        model = NoticeMessage
        fields = ["status", "rule"]


@extend_schema(tags=["notices"])
class NoticeRuleViewSet(
    SecretOnceMixin, ListModelMixin, RetrieveModelMixin, TenantViewSet[NoticeRule]
):
    """The caller's rules for notices, and those of organizations that the caller administers."""

    queryset = NoticeRule.objects.select_related("created_by", "recipient")
    serializer_class = NoticeRuleSerializer
    filterset_class = NoticeRuleFilter
    ordering_fields: ClassVar = ["id", "created_at", "updated_at"]
    roles: ClassVar = dict.fromkeys(
        ("retrieve", "update", "partial_update", "destroy", "test"), Role.ADMIN
    )
    own_roles: ClassVar = dict.fromkeys(roles, Role.VIEWER)

    def get_queryset(self) -> QuerySet[NoticeRule]:
        # Asking for a single one, a member is refused with the role that it takes.
        rows = super().get_queryset()
        assert isinstance(rows, NoticeRuleQuerySet)  # noqa: S101 the queryset above
        if self.action != "list":
            return rows
        return rows.administered_by(self.request.user)

    @classmethod
    def owner_id_of(cls, obj: NoticeRule) -> int | None:
        return obj.user_id

    @extend_schema(responses={201: NewNoticeRuleSerializer})
    def create(self, request: Request) -> Response:
        """Add a rule for notices.

        A rule of the scope `own` takes the place of what a person gets by default: mails when an
        own deployment is preempted, fails, or starts after a long wait.
        """
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        rule, secret = services.add(by=caller(request), **self._whose(given), **given)
        return Response(self._shown(rule, secret), status=201)

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        rule = self.get_object()
        serializer = self.get_serializer(rule, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        rule = services.update(rule, changes=serializer.validated_data)
        return Response(self.get_serializer(rule).data)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a rule, with the list of what was sent to its address."""
        services.delete(self.get_object())
        return Response(status=204)

    @extend_schema(request=None, responses={201: NoticeMessageSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a test to the rule's address, or by mail to the caller.

        It is sent once, within seconds. Read the list of messages to see what became of it.
        """
        message = services.send_test(caller(request), self.get_object())
        return Response(NoticeMessageSerializer(message).data, status=201)

    def _whose(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return whose rule a new one is, and for which organization."""
        scope, organization_id = Scope(given.pop("scope")), given.pop("organization_id")
        user = caller(self.request)
        if scope == Scope.OWN:
            require_account(user)
            return {"user": user, "organization": None}
        least = Role.ADMIN if scope == Scope.ORGANIZATION else Role.VIEWER
        organization = organization_for(user, organization_id, least)
        own = None if scope == Scope.ORGANIZATION else user
        return {"user": own, "organization": organization}

    def _shown(self, rule: NoticeRule, secret: str | None) -> Any:
        return NewNoticeRuleSerializer(rule, context={"secret": secret}).data


@extend_schema(tags=["notices"])
class NoticeMessageViewSet(ListModelMixin, TenantViewSet[NoticeMessage]):
    """The messages to the caller, and to the addresses of the rules that the caller sees."""

    queryset = NoticeMessage.objects.select_related("recipient")
    serializer_class = NoticeMessageSerializer
    filterset_class = NoticeMessageFilter
    ordering_fields: ClassVar = ["id", "created_at", "sent_at"]
