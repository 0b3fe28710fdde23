"""How people have signed in: sessions of browsers, and users of a provider."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.models import BrowserSession, ProviderIdentity
from hypervisor.console.bases import HistoryAdmin, TimeFilter
from hypervisor.ui.data.browsers import browser_of


@admin.register(BrowserSession)
class BrowserSessionAdmin(HistoryAdmin):
    """The sessions of browsers, without their data. People end their own on their account's page.

    Users who may view users may view them.
    """

    list_display = ["user", "client", "address", "created_at", "seen_at", "expire_date"]
    list_filter = [("seen_at", TimeFilter), ("created_at", TimeFilter)]
    list_filter_submit = True
    list_select_related = ["user"]
    search_fields = ["user__username", "=address"]
    search_help_text = "A username or an address."
    ordering = ["-seen_at", "pk"]
    fields = [*list_display, "browser"]
    readonly_fields = ["client"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BrowserSession]:
        rows: QuerySet[BrowserSession] = super().get_queryset(request)
        return rows.filter(user__isnull=False).defer("session_data")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.view_user")

    @admin.display(description="Browser")
    def client(self, session: BrowserSession) -> str:
        return browser_of(session)


@admin.register(ProviderIdentity)
class ProviderIdentityAdmin(HistoryAdmin):
    """The users of the subjects of OpenID Connect providers."""

    list_display = ["user", "issuer", "subject", "linked_at", "used_at"]
    list_filter = [("linked_at", TimeFilter), ("used_at", TimeFilter)]
    list_filter_submit = True
    list_select_related = ["user"]
    search_fields = ["user__username", "=subject", "issuer"]
    search_help_text = "A username, a subject, or a part of an issuer."
    ordering = ["-id"]
    fields = list_display
