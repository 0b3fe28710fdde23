"""The members of an organization: their roles, its service accounts, its invite code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404
from django.urls import reverse

from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.organizations.base import INVITE, MEMBERS, OrganizationPage
from orgs import services
from orgs.departures import left_behind, sentence
from orgs.models import Membership, Role
from orgs.permissions import has_authority
from orgs.service_accounts import services as account_services
from orgs.service_accounts.serializers import ServiceAccountSerializer
from orgs.service_accounts.views import ServiceAccountViewSet

_PAGE = 100

ACCOUNTS = ServiceAccountViewSet.roles["destroy"]
"""The lowest role that may add and remove service accounts."""


@dataclass(frozen=True, slots=True)
class Row:
    """A member; `roles` are those that the person may give, `may_remove` whether to remove it."""

    member: Membership
    is_self: bool
    roles: Sequence[Role]
    may_remove: bool


class MembersPage(OrganizationPage):
    title = "Members"
    tab = "members"
    template_name = "portal/organizations/members.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        members = self.organization.memberships.select_related("user__service_account")
        page = Paginator(members, _PAGE).get_page(self.request.GET.get("page"))
        return super().get_context_data(
            page=page,
            rows=[_row(member, self.person.pk, self.role) for member in page],
            join_link=self.request.build_absolute_uri(
                f"{reverse('portal:join')}?code={self.organization.invite_code}"
            )
            if self.may(INVITE)
            else None,
            may_add_accounts=self.may(ACCOUNTS),
            is_owner=self.role is Role.OWNER,
            **kwargs,
        )


class _MemberPage(OrganizationPage):
    """A page about one member; 404 if the member is none."""

    parent = MEMBERS

    @property
    def member(self) -> Membership:
        members = self.organization.memberships.select_related("user__service_account")
        return get_object_or_404(members, user=self.kwargs["user_id"])

    @property
    def name(self) -> str:
        return self.member.user.username

    @property
    def is_self(self) -> bool:
        return bool(self.member.user_id == self.person.pk)


class RoleForm(ServiceForm):
    """A form that offers the present role as well: without a choice, the service says why."""

    role = forms.ChoiceField(label="Role", help_text="See below for what each role may do.")

    def __init__(self, data: Any, roles: Sequence[Role], present: Role) -> None:
        super().__init__(data, initial={"role": present})
        self.fields["role"].choices = _ascending({present, *roles})  # type: ignore[attr-defined]


class ChangeRolePage(_MemberPage, FormPage):
    template_name = "portal/organizations/role.html"
    button = "Change the role"
    form_class = RoleForm

    def make_form(self, data: Any = None) -> RoleForm:
        member = self.member
        row = _row(member, self.person.pk, self.role)
        present = Role(member.role)
        return RoleForm(data, row.roles, present)

    def act(self, form: RoleForm) -> str:
        member = services.change_role(
            self.organization,
            actor=self.person.username,
            authority=self.person,
            user_id=self.kwargs["user_id"],
            role=Role(form.cleaned_data["role"]),
        )
        messages.success(self.request, f"{member.user.username} is now {member.role}.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Role of {self.name}"
        return super().get_context_data(**kwargs)


class RemoveMemberPage(_MemberPage, ConfirmPage):
    @property
    def consequences(self) -> list[str]:
        who = "You" if self.is_self else self.name
        name = self.organization.name
        said = [f"{who} will no longer be a member of {name}, and tokens for it will be revoked."]
        if left := left_behind(self.organization.pk, self.kwargs["user_id"]):
            said.append(
                "These will continue until an admin stops them or hands them over:"
                f" {sentence(left)}."
            )
        if self.member.user.is_service:
            said.append("The service account will be deleted.")
        elif not self.is_self:
            said.append(
                "Former members who know the invite code can join again: replace it afterwards."
            )
        return said

    def act(self) -> str:
        is_self, name = self.is_self, self.name
        left = services.remove_member(
            self.organization,
            actor=self.person.username,
            authority=self.person,
            user_id=self.kwargs["user_id"],
        )
        rest = f" Left behind: {sentence(left)}." if left else ""
        who = "You are" if is_self else f"{name} is"
        messages.success(
            self.request, f"{who} no longer a member of {self.organization.name}.{rest}"
        )
        return reverse("portal:organizations") if is_self else self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.button = "Leave" if self.is_self else "Remove"
        whom = self.organization.name if self.is_self else self.name
        self.title = f"{self.button} {whom}"
        return super().get_context_data(**kwargs)


class HeirForm(ServiceForm):
    member = forms.ModelChoiceField(
        Membership.objects.none(), label="New owner", empty_label="Choose a member"
    )


class HandOverPage(OrganizationPage, FormPage):
    title = "Hand over the ownership"
    least = Role.OWNER
    button = "Hand over"
    lead = "The member becomes an owner, and you become an admin."
    form_class = HeirForm
    parent = MEMBERS

    def make_form(self, data: Any = None) -> HeirForm:
        form = HeirForm(data)
        people = self.organization.memberships.exclude(user=self.person)
        field = form.fields["member"]
        field.queryset = people.filter(user__service_account=None).select_related("user")  # type: ignore[attr-defined]
        field.label_from_instance = lambda member: f"{member.user.username}, {member.role}"  # type: ignore[attr-defined]
        return form

    def act(self, form: HeirForm) -> str:
        heir: Membership = form.cleaned_data["member"]
        services.hand_over_ownership(self.organization, owner=self.person, user_id=heir.user_id)
        messages.success(self.request, f"{heir.user.username} is now an owner; you are an admin.")
        return self.back


class AccountForm(ServiceForm):
    serializer_class = ServiceAccountSerializer

    name = forms.CharField(
        label="Name",
        max_length=100,
        help_text="Lower-case letters and digits, with single dots, hyphens or underscores between"
        " them.",
    )
    role = forms.ChoiceField(label="Role", initial=Role.DEVELOPER)

    def __init__(self, data: Any, roles: Sequence[Role]) -> None:
        super().__init__(data)
        self.fields["role"].choices = _ascending(roles)  # type: ignore[attr-defined]


class NewServiceAccountPage(OrganizationPage, FormPage):
    title = "Add a service account"
    least = ACCOUNTS
    button = "Add"
    lead = "A service account is a member that is a program: it has no password, only tokens."
    form_class = AccountForm
    parent = MEMBERS

    def make_form(self, data: Any = None) -> AccountForm:
        return AccountForm(data, [role for role in Role if has_authority(self.role, role)])

    def act(self, form: AccountForm) -> str:
        account = account_services.create(
            self.organization,
            by=self.person,
            name=form.given["name"],
            role=Role(form.given["role"]),
        )
        messages.success(self.request, f"{account.name} is a {form.given['role']}. Make a token.")
        return f"{reverse('portal:new_token')}?service_account={account.pk}"


def _ascending(roles: Iterable[Role]) -> list[tuple[str, str]]:
    """Return the choices of roles, that with the least rights first."""
    return [(role, role.label) for role in sorted(roles, key=lambda role: role.rank)]


def _row(member: Membership, person: int, own: Role) -> Row:
    is_self = member.user_id == person
    theirs = Role(member.role)
    if is_self:
        return Row(member, True, [role for role in Role if role.rank < theirs.rank], True)
    if not has_authority(own, theirs):
        return Row(member, False, [], False)
    may_own = own is Role.OWNER and not member.user.is_service
    roles = [
        role
        for role in Role
        if role is not theirs and (has_authority(own, role) or (role is Role.OWNER and may_own))
    ]
    return Row(member, False, roles, True)
