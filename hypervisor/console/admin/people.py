from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    DropdownFilter,
)
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import services, tokens
from accounts.audit.entries import differences, names, watched
from accounts.models import AuditEntry, IdempotencyKey, TokenFamily, User
from hypervisor.console.bases import (
    HistoryAdmin,
    ManyAsCheckboxes,
    ServiceAdmin,
    TimeFilter,
    permitted,
)
from orgs.models import ApiToken
from orgs.tokens import services as api_tokens

_RIGHTS = ["is_staff", "is_superuser", "groups", "user_permissions"]


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]
    def save(self, commit: bool = True) -> User:
        return services.replace_password(super().save(commit=False))


@admin.register(User)
class UserAdmin(ManyAsCheckboxes, BaseUserAdmin, ServiceAdmin):  # type: ignore[misc, type-arg]
    """Users are deactivated, never deleted or renamed, because the history contains their names.

    The users of service accounts are not changed here: they have no password, and organizations add
    and delete them. Only superusers change permissions and staff; otherwise a user with the
    permission to change users could get every other permission.
    """

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = PasswordForm
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email", "email_verified_at")}),
        *(BaseUserAdmin.fieldsets or ())[2:],
    )
    list_display = [
        "username", "email", "is_verified", "is_active", "is_staff", "last_login", "date_joined",
    ]  # fmt: skip
    list_filter = ["is_active", "is_staff", "is_superuser", "last_login", "date_joined"]
    search_fields = ["username", "email", "first_name", "last_name"]
    readonly_fields = ["email_verified_at", "last_login", "date_joined"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        rights = [] if request.user.is_superuser else _RIGHTS
        return [*self.readonly_fields, *(["username", *rights] if obj else [])]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_service:
            return False
        if obj is not None and (obj.is_staff or obj.is_superuser) and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="Verified", boolean=True, ordering="email_verified_at")
    def is_verified(self, user: User) -> bool | None:
        return user.email_verified_at is not None if user.email else None

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            services.add_user(obj)
            return
        rights = {"groups", "user_permissions"}
        changed = [name for name in form.changed_data if name not in rights]
        services.update_user(obj, {name: form.cleaned_data[name] for name in changed})
        if rights & set(form.changed_data):
            services.set_rights(
                obj,
                groups=form.cleaned_data["groups"],
                permissions=form.cleaned_data["user_permissions"],
            )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing, because `save_model` has set the permissions."""


@admin.register(TokenFamily)
class TokenFamilyAdmin(HistoryAdmin):
    """The log-ins to the API. Ending one does not revoke its access tokens before they expire."""

    list_display = ["user", "logged_in_at", "issued_at", "expires_at"]
    list_filter = ["logged_in_at", "expires_at"]
    list_select_related = ["user"]
    search_fields = ["user__username"]
    ordering = ["-logged_in_at", "-id"]
    fields = ["user", "logged_in_at", "issued_at", "expires_at"]
    actions = ["end"]
    has_end_permission = permitted("end")

    @admin.action(description="End these log-ins", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> None:
        families = list(queryset)
        tokens.end(families)
        self.message_user(request, f"{len(families)} ended.")


@admin.register(ApiToken)
class ApiTokenAdmin(HistoryAdmin):
    """The API tokens, by their names and first characters."""

    list_display = [
        "name", "user", "organization", "scope", "start", "created_at", "expires_at",
        "last_used_at",
    ]  # fmt: skip
    list_filter = ["scope", "created_at", "expires_at", "last_used_at"]
    list_select_related = ["user", "organization"]
    search_fields = ["name", "start", "user__username"]
    search_help_text = "A name, the beginning of a token, or a username."
    ordering = ["-id"]
    fields = list_display
    actions = ["revoke"]
    has_revoke_permission = permitted("revoke")

    @admin.action(description="Revoke these tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        count = api_tokens.revoke(queryset, actor=request.user.get_username())
        self.message_user(request, f"{count} revoked.")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(HistoryAdmin):
    """The requests whose responses are stored for repetition; the responses stay private."""

    list_display = ["user", "key", "status", "created_at"]
    list_filter = ["status"]
    list_select_related = ["user"]
    search_fields = ["=key", "user__username"]
    fields = ["user", "key", "status", "created_at"]


class WatchedFilter(DropdownFilter):  # type: ignore[misc]
    title = "table"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(watched().items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(model=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(HistoryAdmin):
    """The audit trail: the actor, row, time, and old and new values of each change."""

    list_display = ["time", "who", "what", "operation", "changes", "note"]
    list_display_links = ["time"]
    list_filter = [
        WatchedFilter,
        ("actor", AutocompleteSelectFilter),
        ("operation", ChoicesDropdownFilter),
        ("time", TimeFilter),
    ]
    list_filter_submit = True
    list_select_related = ["actor"]
    search_fields = ["=object_id", "name", "=request_id"]
    search_help_text = "An id, a name, or a request's id from the logs."
    fields = ["time", "who", "what", "operation", "changes", "note", "via", "request_id"]
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "object_id" or super().lookup_allowed(lookup, value, request)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        class Page(super().get_changelist(request, **kwargs)):  # type: ignore[misc]
            def get_results(self, request: HttpRequest) -> None:
                super().get_results(request)
                entries: list[Any] = list(self.result_list)  # type: ignore[has-type]
                known = names(entries)
                for entry in entries:
                    entry.known = known
                self.result_list = entries

        return Page

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        entry = super().get_object(*args, **kwargs)
        if entry is not None:
            entry.known = names([entry])
        return entry

    @admin.display(description="Who", ordering="actor")
    def who(self, entry: AuditEntry) -> str:
        if entry.actor is None:
            return entry.via if entry.request_id else "the service or SQL"
        url = reverse("admin:accounts_user_change", args=[entry.actor_id])
        return format_html('<a class="font-medium underline" href="{}">{}</a>', url, entry.actor)

    @admin.display(description="What")
    def what(self, entry: AuditEntry) -> str:
        kind = watched().get(entry.model, entry.model)
        name = f"{kind} {entry.name or entry.object_id}"
        try:
            page = reverse(f"admin:{entry.model.replace('.', '_')}_change", args=[entry.object_id])
        except NoReverseMatch:
            return name
        return format_html('<a class="font-medium underline" href="{}">{}</a>', page, name)

    @admin.display(description="Before → after")
    def changes(self, entry: Any) -> str:
        return format_html_join("", '<span class="a-change">{} <b>{}</b></span>', _changes(entry))


def _changes(entry: Any) -> Iterator[tuple[str, str]]:
    """Yield each column with its change; of a new or deleted row, only the columns with a value."""
    for change in differences(entry, entry.known):
        if change.secret:
            yield change.column, "changed; the value is not kept"
        elif entry.operation == AuditEntry.Operation.UPDATE:
            yield change.column, f"{change.before} → {change.after}"
        elif (only := change.after or change.before or "") not in ("empty", "none", "no"):
            yield change.column, only
