"""Notices of people and organizations: the rules, what was told to whom, and the messages."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from deployments.models import Notice, NoticeMessage, NoticeRule
from deployments.notices.models import NoticeRecipient
from hypervisor.console.bases import Audited, HistoryAdmin, TimeFilter, badge_of
from hypervisor.ui.data.notice_rules import when

_LINK = '<a class="font-medium underline whitespace-nowrap" href="{}">{}</a>'


def _whose(rule: NoticeRule) -> str:
    return str(rule.user or rule.organization)


def _to(recipient: NoticeRecipient) -> str:
    """Return who gets the messages of a recipient, and how."""
    if recipient.rule:
        return f"{recipient.rule.host}, of {_whose(recipient.rule)}"
    return f"{recipient.user}, by mail"


@admin.register(NoticeRule)
class NoticeRuleAdmin(Audited, HistoryAdmin):
    """The rules, without their addresses and secrets. People and organizations change their own."""

    list_display = ["id", "whose", "about", "what", "channel", "host", "condition", "updated_at"]
    list_filter = [
        ("channel", ChoicesDropdownFilter), "enabled", ("organization", AutocompleteSelectFilter),
    ]  # fmt: skip
    list_filter_submit = True
    list_select_related = ["user", "organization"]
    search_fields = ["user__username", "organization__name", "host"]
    search_help_text = "A username, an organization, or a part of a host."
    ordering = ["-id"]
    fields = [
        "whose", "about", "what", "labels", "wait_minutes", "channel", "host", "digest_hour",
        "condition", "disabled_reason", "created_by", "created_at", "updated_at",
    ]  # fmt: skip
    readonly_fields = ["whose", "about", "what", "condition"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[NoticeRule]:
        rows: QuerySet[NoticeRule] = super().get_queryset(request)
        return rows.defer("url", "secret")

    @admin.display(description="Whose", ordering="user__username")
    def whose(self, rule: NoticeRule) -> str:
        return _whose(rule)

    @admin.display(description="Deployments", ordering="organization__name")
    def about(self, rule: NoticeRule) -> str:
        return f"all of {rule.organization}" if rule.organization else "their own"

    @admin.display(description="Notices of")
    def what(self, rule: NoticeRule) -> str:
        return when(rule)

    @admin.display(description="State", ordering="enabled")
    def condition(self, rule: NoticeRule) -> str:
        return badge_of("ok", "on") if rule.enabled else badge_of("held", "muted")


@admin.register(Notice)
class NoticeAdmin(HistoryAdmin):
    """What recipients were told about deployments, or will be with their next message."""

    list_display = ["time", "headline", "kind", "to", "deployment", "condition"]
    list_filter = [
        ("kind", ChoicesDropdownFilter), ("organization", AutocompleteSelectFilter),
        ("time", TimeFilter),
    ]  # fmt: skip
    list_filter_submit = True
    list_select_related = [
        "recipient__user", "recipient__rule__user", "recipient__rule__organization", "message",
    ]  # fmt: skip
    search_fields = ["=deployment_id", "name", "recipient__user__username"]
    search_help_text = "A deployment's id or name, or a username."
    ordering = ["-id"]
    fields = [
        "time", "headline", "detail", "kind", "count", "to", "deployment", "organization",
        "is_digest", "due_at", "condition", "message",
    ]  # fmt: skip
    readonly_fields = ["to", "deployment", "condition"]

    @admin.display(description="To")
    def to(self, notice: Notice) -> str:
        return _to(notice.recipient)

    @admin.display(description="Deployment", ordering="deployment_id")
    def deployment(self, notice: Notice) -> str:
        """Link to the deployment, which may be deleted."""
        page = reverse("admin:deployments_deployment_change", args=[notice.deployment_id])
        return format_html(_LINK, page, f"{notice.name} ({notice.deployment_id})")

    @admin.display(description="State")
    def condition(self, notice: Notice) -> str:
        return badge_of(notice.message.status) if notice.message else badge_of("pending", "waits")


@admin.register(NoticeMessage)
class NoticeMessageAdmin(HistoryAdmin):
    """The mails and the messages to chats and webhooks, with what became of them."""

    list_display = ["created_at", "subject", "to", "condition", "attempts", "sent_at", "error"]
    list_filter = [
        ("status", ChoicesDropdownFilter), "is_test", ("created_at", TimeFilter),
    ]  # fmt: skip
    list_filter_submit = True
    list_select_related = [
        "recipient__user", "recipient__rule__user", "recipient__rule__organization",
    ]  # fmt: skip
    search_fields = ["subject", "recipient__user__username", "recipient__rule__host"]
    search_help_text = "A part of a subject or of a host, or a username."
    ordering = ["-id"]
    fields = [
        "created_at", "subject", "to", "is_test", "condition", "attempts", "next_attempt_at",
        "sent_at", "error",
    ]  # fmt: skip
    readonly_fields = ["to", "condition"]

    @admin.display(description="To")
    def to(self, message: NoticeMessage) -> str:
        return _to(message.recipient)

    @admin.display(description="Status", ordering="status")
    def condition(self, message: NoticeMessage) -> str:
        return badge_of(message.status)
