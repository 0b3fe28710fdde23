from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    ChoicesDropdownFilter,
    TextFilter,
)

from accounts.models import User
from clusters.models import Cluster
from deployments.choices import OCCUPYING, Status
from deployments.models import Deployment
from hypervisor.base.numbers import whole
from hypervisor.console.bases import HistoryAdmin, KindFilter, ServiceAdmin, TimeFilter, badge_of
from hypervisor.console.pages.organizations import OrganizationPage
from orgs import departures, services
from orgs.models import Event, Membership, Organization, Role

_LINK = '<a class="font-medium underline whitespace-nowrap" href="{}">{}</a>'
_PAGES = {
    "organization": "admin:orgs_organization_change",
    "cluster": "cluster",
    "deployment": "admin:deployments_deployment_change",
}
_INVITE = ["invite_code", "invite_expires_at", "invite_max_uses", "invite_uses"]


class FoundingForm(forms.ModelForm):  # type: ignore[type-arg]
    """An organization has an owner from the start."""

    owner = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        # A search field, because a list of all users would be long.
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

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_choice_field(db_field, request, **kwargs)
        field.widget.attrs["aria-label"] = str(db_field.verbose_name).capitalize()
        return field

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return Membership.objects.select_related("user", "organization")


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin):
    """An organization has a page of its own; `?edit` is the form."""

    list_display = ["name", "owners", "members", "clusters", "running", "waiting", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "memberships__user__username"]
    readonly_fields = [*_INVITE, "created_at"]
    inlines = [MembershipInline]
    actions = ["regenerate_invite"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        members = Membership.objects.filter(organization=OuterRef("pk")).order_by()
        grouped = members.values("organization")
        names = StringAgg("user__username", ", ", order_by="user__username")
        return Organization.objects.annotate(
            members=Subquery(grouped.annotate(count=Count("pk")).values("count")),
            owners=Subquery(grouped.filter(role=Role.OWNER).annotate(n=names).values("n")),
            cluster_count=_count(Cluster.objects.all()),
            running_count=_count(Deployment.objects.filter(status__in=OCCUPYING)),
            waiting_count=_count(Deployment.objects.filter(status=Status.PENDING)),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        organization = self.get_object(request, object_id) if request.method == "GET" else None
        if organization is None or "edit" in request.GET:
            return super().change_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        return OrganizationPage.as_view(model_admin=self, organization=organization)(request)

    def get_form(
        self, request: HttpRequest, obj: Organization | None = None, change: bool = False, **kw: Any
    ) -> Any:
        return super().get_form(request, obj, change, **kw if obj else {**kw, "form": FoundingForm})

    def get_fields(self, request: HttpRequest, obj: Organization | None = None) -> list[str]:
        if obj is None:
            return ["name", "owner"]
        # A user who sees the code can join with it.
        code = _INVITE if self.has_change_permission(request) else []
        return ["name", *code, "created_at"]

    def get_inlines(self, request: HttpRequest, obj: Organization | None) -> list[Any]:
        return self.inlines if obj else []

    @admin.display(description="Owners", ordering="owners")
    def owners(self, organization: Any) -> str:
        return organization.owners or ""

    @admin.display(description="Members", ordering="members")
    def members(self, organization: Any) -> int:
        return organization.members or 0

    @admin.display(description="Clusters", ordering="cluster_count")
    def clusters(self, organization: Any) -> int:
        return organization.cluster_count or 0

    @admin.display(description="On clusters", ordering="running_count")
    def running(self, organization: Any) -> int:
        return organization.running_count or 0

    @admin.display(description="Waiting", ordering="waiting_count")
    def waiting(self, organization: Any) -> int:
        return organization.waiting_count or 0

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        if change:
            services.rename(obj, actor=request.user.get_username(), name=obj.name)
        else:
            owner = form.cleaned_data["owner"]
            obj.pk = services.create(owner=owner, name=obj.name, bounded=False).pk

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Add, change and remove members one at a time, each by its service."""
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
            left = services.remove_member(
                organization, actor=actor, authority=None, user_id=member.user_id
            )
            if left:
                text = f"{member.user} left behind {departures.sentence(left)}."
                self.message_user(request, text, messages.WARNING)

    def get_deleted_objects(
        self, objs: Iterable[Any], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Count what is deleted with the organizations."""
        names, counts, missing, protected = super().get_deleted_objects(objs, request)
        for model in (Membership, Cluster, Deployment):
            within = model.objects.filter(organization__in=objs).count()
            counts[str(model._meta.verbose_name_plural)] = within
        return names, counts, missing, protected

    def delete_model(self, request: HttpRequest, obj: Organization) -> None:
        services.delete(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self.carry_out(request, queryset, services.delete, "deleted")

    @admin.action(description="Regenerate the invite code", permissions=["change"])
    def regenerate_invite(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        self.carry_out(request, queryset, services.regenerate_invite, "got a new invite code")


def _count(rows: QuerySet[Any]) -> Subquery:
    """Count an organization's rows within the statement that lists the organizations."""
    grouped = rows.filter(organization=OuterRef("pk")).order_by().values("organization")
    return Subquery(grouped.annotate(count=Count("pk")).values("count"))


class ActorFilter(TextFilter):  # type: ignore[misc]
    title = "actor"
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(actor=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    list_display = ["time", "organization_link", "about", "happened", "actor", "why"]
    list_display_links = ["time"]
    list_filter = [
        ("subject", ChoicesDropdownFilter),
        KindFilter,
        ActorFilter,
        ("organization", AutocompleteSelectFilter),
        ("time", TimeFilter),
    ]
    list_filter_submit = True
    list_select_related = ["organization"]
    search_fields = ["=actor", "=kind"]
    search_help_text = "An id, a username or a kind of event."
    ordering = ["-id"]
    fields = ["time", "organization_link", "about", "happened", "status", "actor", "why", "data"]
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "subject_id" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Find a number as an id by the index of the subjects, not by reading all events."""
        number = whole(search_term)
        if number is None:
            return super().get_search_results(request, queryset, search_term)  # type: ignore[no-any-return]
        return queryset.filter(subject__in=Event.Subject.values, subject_id=number), False

    @admin.display(description="Organization", ordering="organization")
    def organization_link(self, event: Event) -> str:
        page = reverse("admin:orgs_organization_change", args=[event.organization_id])
        return format_html(_LINK, page, event.organization)

    @admin.display(description="About")
    def about(self, event: Event) -> str:
        """Link to the subject, which may be deleted."""
        page = reverse(_PAGES[event.subject], args=[event.subject_id])
        return format_html(_LINK, page, f"{event.subject} {event.subject_id}")

    @admin.display(description="What", ordering="kind")
    def happened(self, event: Event) -> str:
        return badge_of(event.kind)

    @admin.display(description="Why")
    def why(self, event: Event) -> str:
        """Return the reason, with a link to the preemptor if there is one."""
        note = event.data.get("note")
        said = f"{event.reason} Note: {note}".strip() if note else event.reason
        preemptor = event.data.get("for")
        if not preemptor:
            return said
        page = reverse("admin:deployments_deployment_change", args=[preemptor])
        link = format_html(_LINK, page, f"Deployment {preemptor}")
        return format_html("{} {}", said, link)
