from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts.console import HistoryAdmin, ServiceAdmin
from accounts.models import User
from orgs import services
from orgs.models import Event, Membership, Organization, Role


class FoundingForm(forms.ModelForm):  # type: ignore[type-arg]
    """An organization has an owner from the start."""

    owner = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        # Searched as one types: a list of everybody would be long.
        widget=AutocompleteSelect(Membership._meta.get_field("user"), admin.site),
    )

    class Meta:
        model = Organization
        fields = ["name"]


class MembershipInline(TabularInline):  # type: ignore[misc]
    model = Membership
    fields = ["user", "role", "joined_at"]
    readonly_fields = ["joined_at"]
    autocomplete_fields = ["user"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return Membership.objects.select_related("user", "organization")


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin):
    list_display = ["name", "owners", "members", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "memberships__user__username"]
    readonly_fields = ["invite_code", "created_at"]
    inlines = [MembershipInline]
    actions = ["regenerate_invite"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        members = Membership.objects.filter(organization=OuterRef("pk")).order_by()
        grouped = members.values("organization")
        names = StringAgg("user__username", ", ", order_by="user__username")
        return Organization.objects.annotate(
            members=Subquery(grouped.annotate(count=Count("pk")).values("count")),
            owners=Subquery(grouped.filter(role=Role.OWNER).annotate(n=names).values("n")),
        )

    def get_form(
        self, request: HttpRequest, obj: Organization | None = None, change: bool = False, **kw: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kw if obj else {**kw, "form": FoundingForm})

    def get_fields(self, request: HttpRequest, obj: Organization | None = None) -> list[str]:
        if obj is None:
            return ["name", "owner"]
        # Whoever sees the code can join with it.
        code = ["invite_code"] if self.has_change_permission(request) else []
        return ["name", *code, "created_at"]

    def get_inlines(self, request: HttpRequest, obj: Organization | None) -> list[Any]:
        return self.inlines if obj else []

    @admin.display(description="Owners", ordering="owners")
    def owners(self, organization: Any) -> str:
        return organization.owners or ""

    @admin.display(description="Members", ordering="members")
    def members(self, organization: Any) -> int:
        return organization.members or 0

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            services.rename(obj, actor=request.user.get_username(), name=obj.name)
        else:
            obj.pk = services.create(owner=form.cleaned_data["owner"], name=obj.name).pk

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Carry the changed rows of members out one by one, as the services do each."""
        actor = request.user.get_username()
        organization: Organization = form.instance
        formset.save(commit=False)
        for member in formset.new_objects:
            services.add_member(organization, actor=actor, user=member.user, role=Role(member.role))
        for member, _fields in formset.changed_objects:
            services.change_role(
                organization, actor=actor, authority=None,
                user_id=member.user_id, role=Role(member.role),
            )  # fmt: skip
        for member in formset.deleted_objects:
            services.remove_member(
                organization, actor=actor, authority=None, user_id=member.user_id
            )

    def delete_model(self, request: HttpRequest, obj: Organization) -> None:
        services.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self.carry_out(request, queryset, services.delete, "deleted")

    @admin.action(description="Regenerate the invite code", permissions=["change"])
    def regenerate_invite(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self.carry_out(request, queryset, services.regenerate_invite, "got a new invite code")


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    list_display = [
        "time", "organization", "subject", "subject_id", "kind", "status", "actor", "reason",
    ]  # fmt: skip
    list_filter = ["subject", "status", "organization"]
    list_select_related = ["organization"]
    search_fields = ["=subject_id", "=actor", "=kind"]
    search_help_text = "An id, a username or a kind of event."
    ordering = ["-id"]
