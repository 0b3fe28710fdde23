"""The REST representation of webhooks, without secrets, and of deliveries."""

from typing import Any

from django.db.models import Q
from rest_framework import serializers

from hypervisor.base.names import TextSerializerField
from hypervisor.base.numbers import MAX
from hypervisor.rest.schemas import example
from hypervisor.rest.serializers import (
    BooleanField,
    ChoiceField,
    IntegerField,
    StrictModelSerializer,
    StrictSerializer,
)
from orgs.feed.kinds import CHOICES
from orgs.models import Delivery, Webhook
from orgs.serializers import OrganizationField
from orgs.webhooks import targets
from orgs.webhooks.services import KEEP_HOURS, MOST_KEEP_HOURS

WEBHOOK: dict[str, Any] = {
    "id": 1,
    "organization": 1,
    "url": "https://hooks.example.org/hypervisor",
    "description": "pages the team on call",
    "kinds": ["evicted", "failed"],
    "enabled": True,
    "disabled_reason": "",
    "position": 1207,
    "failures": 0,
    "failing_since": None,
    "paused_until": "2026-01-05T09:10:01Z",
    "delivered_at": "2026-01-05T09:10:01Z",
    "former_secret_until": None,
    "created_by": "alice",
    "created_at": "2026-01-05T09:00:00Z",
    "updated_at": "2026-01-05T09:00:00Z",
}
_GIVEN = {name: WEBHOOK[name] for name in ("url", "description", "kinds")}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwq0aBcDeFgHi="  # noqa: S105
"""Parts of the examples in the OpenAPI document; no service has issued the secret."""


@example(body=_GIVEN, change={"enabled": False}, answer=WEBHOOK)
class WebhookSerializer(StrictModelSerializer[Webhook]):
    """An address to which the events of an organization are sent."""

    organization = OrganizationField()
    url = TextSerializerField(
        max_length=targets.LONGEST,
        help_text="With `https`, without a user and a password, on port 443 or one from 1024 on."
        " Redirects are not followed. Its host has to have a public address, unless the operator"
        " allows its network.",
    )
    description = TextSerializerField(
        max_length=200, required=False, allow_blank=True, default="", help_text="For people."
    )
    kinds = serializers.ListField(
        child=ChoiceField(choices=CHOICES),
        required=False,
        default=list,
        max_length=len(CHOICES),
        help_text="Only events of these kinds are sent, as in `GET /events`; empty: all events."
        " `deployment`, `cluster` and `organization` stand for all kinds of such a subject, also"
        " those of later releases.",
    )
    enabled = BooleanField(
        required=False,
        default=True,
        help_text="Whether events are sent. A webhook that is enabled again gets what has happened"
        " meanwhile.",
    )
    created_by = serializers.SlugRelatedField[Any](
        slug_field="username", read_only=True, allow_null=True
    )
    former_secret_until = serializers.DateTimeField(
        source="former_secrets_until",
        read_only=True,
        allow_null=True,
        help_text="Until when a former secret also signs: of several, the one that signs longest.",
    )

    class Meta:
        model = Webhook
        fields = list(WEBHOOK)
        read_only_fields = [
            "id", "disabled_reason", "position", "failures", "failing_since", "paused_until",
            "delivered_at", "created_at", "updated_at",
        ]  # fmt: skip
        extra_kwargs = {
            "disabled_reason": {"help_text": "Why it is disabled; empty if it is enabled."},
            "position": {
                "help_text": "The number of the last event that was sent, or is not wanted, or has"
                " a delivery."
            },
            "failures": {"help_text": "Attempts that have failed since the last success."},
            "failing_since": {"help_text": "When the first of them failed."},
            "paused_until": {"help_text": "No attempt is made before, because of the failures."},
            "delivered_at": {"help_text": "When a message was last delivered."},
            "updated_at": {"help_text": "When it was last changed."},
        }

    def validate_organization(self, organization_id: int) -> int:
        if self.instance is not None and organization_id != self.instance.organization_id:
            raise serializers.ValidationError(
                "A webhook cannot change its organization: leave `organization` out."
            )
        return organization_id

    def validate_url(self, text: str) -> str:
        try:
            return targets.checked(text)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def validate_kinds(self, kinds: list[str]) -> list[str]:
        return sorted(set(kinds))


@example(answer={**WEBHOOK, "secret": _SECRET})
class NewWebhookSerializer(WebhookSerializer):
    """A webhook with its secret, which only this answer shows."""

    secret = serializers.SerializerMethodField(
        help_text="With it, the receiver verifies signatures. No other call shows it. It is null in"
        " the replay of a repeated request: rotate the secret then."
    )

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]

    def get_secret(self, webhook: Webhook) -> str | None:
        secret: str | None = self.context["secret"]
        return secret

    def to_internal_value(self, data: Any) -> Any:
        raise NotImplementedError("A request has no secret: read it with WebhookSerializer.")


@example(body={"keep_hours": KEEP_HOURS})
class RotationSerializer(StrictSerializer):
    """How the secret of a webhook is replaced."""

    keep_hours = IntegerField(
        required=False,
        default=KEEP_HOURS,
        min_value=0,
        max_value=MOST_KEEP_HOURS,
        help_text="How long the former secret also signs, so that the receiver can change to the"
        " new one; 0: no former secret signs any more, because it may have leaked.",
    )


@example(
    answer={
        "id": 3,
        "webhook": 1,
        "number": 1207,
        "kind": "evicted",
        "status": "failed",
        "attempts": 10,
        "next_attempt_at": None,
        "attempted_at": "2026-01-08T12:40:12Z",
        "response_status": 500,
        "error": "The receiver answered with the status 500.",
        "created_at": "2026-01-05T09:10:01Z",
    }
)
class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A message that was not delivered at the first attempt, was replayed, or is a test."""

    class Meta:
        model = Delivery
        fields = [
            "id", "webhook", "number", "kind", "status", "attempts", "next_attempt_at",
            "attempted_at", "response_status", "error", "created_at",
        ]  # fmt: skip
        extra_kwargs = {
            "number": {"help_text": "The number of the event; null for a test."},
            "kind": {"help_text": "The kind of the event, or `ping` for a test."},
            "attempts": {"help_text": "How often it was sent, since it was replayed if it was."},
            "next_attempt_at": {"help_text": "When it is sent again; null if it is not."},
            "attempted_at": {"help_text": "When it was last sent."},
            "response_status": {"help_text": "The status of the last response."},
            "error": {"help_text": "Why the last attempt failed."},
        }


@example(body={"after": 1200, "before": 1300, "only_failed": True})
class ReplaySerializer(StrictSerializer):
    """Which messages are sent again: those of the events between two numbers, or two times."""

    after = IntegerField(
        required=False, min_value=0, max_value=MAX, help_text="Only events with a higher number."
    )
    before = IntegerField(
        required=False, min_value=1, max_value=MAX, help_text="Only events with a lower number."
    )
    since = serializers.DateTimeField(required=False, help_text="Only events from this time on.")
    until = serializers.DateTimeField(required=False, help_text="Only events before this time.")
    only_failed = BooleanField(
        required=False,
        default=True,
        help_text="Only messages whose last attempt has failed; else also those that were"
        " delivered.",
    )

    def validate(self, attrs: Any) -> Any:
        if not attrs.keys() - {"only_failed"}:
            raise serializers.ValidationError(
                {"after": "Give at least one of `after`, `before`, `since` and `until`."},
                code="required",
            )
        return attrs

    @property
    def wanted(self) -> Q:
        """The condition on the numbers of events."""
        lookups = {
            "after": "number__gt",
            "before": "number__lt",
            "since": "event__time__gte",
            "until": "event__time__lt",
        }
        given = self.validated_data
        return Q(**{lookup: given[name] for name, lookup in lookups.items() if name in given})


@example(answer={"scheduled": 12})
class ReplayedSerializer(serializers.Serializer[Any]):
    """How many messages are sent again."""

    scheduled = serializers.IntegerField(help_text="How many messages are sent again.")
