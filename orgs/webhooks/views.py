from typing import Any, ClassVar

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from accounts.authentication import caller
from hypervisor.rest.filters import FlagFilter, SeveralChoicesFilter, SeveralIntegersFilter
from hypervisor.rest.parameters import StrictParametersMixin
from orgs.models import Delivery, Role, Webhook
from orgs.permissions import administered_by, organization_for, require
from orgs.viewsets import SecretOnceMixin, TenantViewSet
from orgs.webhooks import services
from orgs.webhooks.serializers import (
    DeliverySerializer,
    NewWebhookSerializer,
    ReplayedSerializer,
    ReplaySerializer,
    RotationSerializer,
    WebhookSerializer,
)


class WebhookFilter(filters.FilterSet):  # type: ignore[misc]
    organization = SeveralIntegersFilter(field_name="organization_id", label="id")
    enabled = FlagFilter(label="whether events are sent")

    class Meta:
        model = Webhook
        fields = ["organization", "enabled"]


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    status = SeveralChoicesFilter(choices=Delivery.Status.choices, label="its status")
    number = SeveralIntegersFilter(label="the number of the event")

    class Meta:
        model = Delivery
        fields = ["status", "number"]


@extend_schema(tags=["webhooks"])
class WebhookViewSet(SecretOnceMixin, ListModelMixin, RetrieveModelMixin, TenantViewSet[Webhook]):
    """The addresses to which events are sent. Only admins see them."""

    queryset = Webhook.objects.select_related("created_by")
    serializer_class = WebhookSerializer
    filterset_class = WebhookFilter
    ordering_fields: ClassVar = ["id", "created_at", "updated_at"]
    bodies: ClassVar = (*StrictParametersMixin.bodies, "rotate", "replay")
    roles: ClassVar = dict.fromkeys(
        ("retrieve", "update", "partial_update", "destroy", "rotate", "test", "replay"), Role.ADMIN
    )

    def get_queryset(self) -> QuerySet[Webhook]:
        # Asking for a single one, a member is refused with the role that it takes.
        rows = super().get_queryset()
        if self.action != "list":
            return rows
        return rows.filter(organization__in=administered_by(self.request.user))

    @extend_schema(responses={201: NewWebhookSerializer})
    def create(self, request: Request) -> Response:
        """Add a webhook, whose secret only this response shows.

        What happens from now on is sent to it, as Standard Webhooks says.
        """
        given = self._valid(self.get_serializer(data=request.data))
        organization = organization_for(request.user, given.get("organization_id"), Role.ADMIN)
        webhook, secret = services.add(
            organization,
            by=caller(request),
            url=given["url"],
            description=given["description"],
            kinds=given["kinds"],
            enabled=given["enabled"],
        )
        return Response(self._shown(webhook, secret), status=201)

    def update(self, request: Request, pk: str, partial: bool = False) -> Response:
        webhook = self.get_object()
        given = self._valid(self.get_serializer(webhook, data=request.data, partial=partial))
        given.pop("organization_id", None)
        webhook = services.update(webhook, actor=request.user.get_username(), changes=given)
        return Response(self.get_serializer(webhook).data)

    def partial_update(self, request: Request, pk: str) -> Response:
        return self.update(request, pk, partial=True)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a webhook and the list of its deliveries."""
        services.delete(self.get_object(), actor=request.user.get_username())
        return Response(status=204)

    @extend_schema(
        operation_id="rotate_webhook_secret",
        request=RotationSerializer,
        responses=NewWebhookSerializer,
    )
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Replace the secret; only this response shows the new one.

        For a while, messages are also signed with the former secret, and with those before it whose
        time has not passed.
        """
        webhook = self.get_object()
        given = self._valid(RotationSerializer(data=request.data))
        webhook, secret = services.rotate_secret(
            webhook, actor=request.user.get_username(), keep_hours=given["keep_hours"]
        )
        return Response(self._shown(webhook, secret))

    @extend_schema(request=None, responses={201: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a message of the type `ping`, also to a webhook that is disabled or fails.

        It is sent once, within seconds. Read the delivery to see what became of it.
        """
        delivery = services.send_test(self.get_object())
        return Response(DeliverySerializer(delivery).data, status=201)

    @extend_schema(request=ReplaySerializer, responses=ReplayedSerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send the messages of a range of events again: those that failed, or all."""
        webhook = self.get_object()
        given = ReplaySerializer(data=request.data)
        only_failed = self._valid(given)["only_failed"]
        scheduled = services.replay_range(webhook, wanted=given.wanted, only_failed=only_failed)
        return Response({"scheduled": scheduled})

    def _valid(self, serializer: BaseSerializer[Any]) -> dict[str, Any]:
        serializer.is_valid(raise_exception=True)
        given: dict[str, Any] = serializer.validated_data
        return given

    def _shown(self, webhook: Webhook, secret: str | None) -> Any:
        return NewWebhookSerializer(webhook, context={"secret": secret}).data


@extend_schema(tags=["webhooks"])
class DeliveryViewSet(ListModelMixin, RetrieveModelMixin, TenantViewSet[Delivery]):
    """The messages of a webhook that failed at least once, were replayed, or are tests."""

    queryset = Delivery.objects.select_related("webhook")
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter
    ordering_fields: ClassVar = ["id", "number", "created_at"]
    roles: ClassVar = dict.fromkeys(("retrieve", "replay"), Role.ADMIN)

    def get_queryset(self) -> QuerySet[Delivery]:
        visible = Webhook.objects.visible_to(self.request.user)
        webhook = get_object_or_404(visible, pk=self.kwargs["webhook_id"])
        require(self.request.user, webhook.organization_id, Role.ADMIN)
        return super().get_queryset().filter(webhook=webhook)

    def organization_id_of(self, obj: Delivery) -> int:
        return obj.webhook.organization_id

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, webhook_id: str, pk: str) -> Response:
        """Send a message again, with all its attempts, whatever became of the former ones."""
        return Response(self.get_serializer(services.replay(self.get_object())).data)
