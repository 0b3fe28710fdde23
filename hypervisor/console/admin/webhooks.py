from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from hypervisor.base.errors import DomainError
from hypervisor.console.bases import Acting, Audited, HistoryAdmin, KindFilter, badge_of, permitted
from hypervisor.ui.data.event_kinds import in_words, label_of
from orgs.models import Delivery, Webhook
from orgs.webhooks import services

_REPLAY = "orgs.replay_webhook"


@admin.register(Webhook)
class WebhookAdmin(Acting, Audited, HistoryAdmin):
    """Webhooks of organizations, without their secrets. Organizations add and change them."""

    list_display = [
        "url", "organization", "enabled", "failures", "failing_since", "delivered_at", "position",
    ]  # fmt: skip
    list_filter = ["enabled", "failing_since", "organization"]
    list_select_related = ["organization"]
    search_fields = ["url", "description", "organization__name"]
    ordering = ["-id"]
    fields = [
        "organization", "url", "description", "events", "enabled", "disabled_reason", "position",
        "failures", "failing_since", "paused_until", "delivered_at", "former_secrets_until",
        "created_by", "created_at", "updated_at",
    ]  # fmt: skip
    readonly_fields = ["events"]
    actions = ["enable", "disable", "send_test", "replay_failed"]
    has_steer_permission = permitted("change")
    has_replay_permission = permitted("replay")

    @admin.display(description="Events")
    def events(self, webhook: Webhook) -> str:
        return in_words(webhook.kinds)

    @admin.action(description="Enable these webhooks", permissions=["steer"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        self.carry_out(request, queryset, services.enable, "enabled")

    @admin.action(description="Disable these webhooks", permissions=["steer"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        def disable(webhook: Webhook, *, actor: str) -> None:
            services.disable(webhook, actor=actor, reason=services.disabled_by(actor))

        self.carry_out(request, queryset, disable, "disabled")

    @admin.action(description="Send a test to these webhooks", permissions=["steer"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        def send_test(webhook: Webhook, *, actor: str) -> None:
            services.send_test(webhook)

        self.carry_out(request, queryset, send_test, "tests are sent: see Deliveries")

    @admin.action(description="Send again what failed", permissions=["replay"])
    def replay_failed(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for webhook in queryset:
            try:
                many = services.replay_range(webhook, wanted=Q(), only_failed=True)
            except DomainError as error:
                self.message_user(request, error.detail, messages.WARNING)
            else:
                self.message_user(request, f"{many} messages to {webhook} are sent again.")


@admin.register(Delivery)
class DeliveryAdmin(Acting, HistoryAdmin):
    """The messages that were not delivered at the first attempt, were replayed, or are tests."""

    list_display = [
        "number", "event", "webhook", "condition", "attempts", "attempted_at", "error",
    ]  # fmt: skip
    list_filter = ["status", KindFilter, "created_at"]
    list_select_related = ["webhook"]
    search_fields = ["=number", "webhook__url"]
    search_help_text = "The number of an event, or a part of a URL."
    ordering = ["-id"]
    fields = [*list_display, "next_attempt_at", "response_status", "created_at"]
    readonly_fields = ["event", "condition"]
    actions = ["replay"]

    def has_replay_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(_REPLAY)

    @admin.display(description="Event", ordering="kind")
    def event(self, delivery: Delivery) -> str:
        return label_of(delivery.kind)

    @admin.display(description="Status", ordering="status")
    def condition(self, delivery: Delivery) -> str:
        return badge_of(delivery.status)

    @admin.action(description="Send these messages again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: Iterable[Delivery]) -> None:
        def replay(delivery: Delivery, *, actor: str) -> None:
            services.replay(delivery)

        self.carry_out(request, queryset, replay, "are sent again")
