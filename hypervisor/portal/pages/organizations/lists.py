"""The person's organizations; creating one, and joining one with an invite code."""

from typing import Any

from django import forms
from django.contrib import messages
from django.urls import reverse

from accounts.throttles import check_rate
from hypervisor.portal.actions import FormPage
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.forms import ServiceForm
from orgs import services
from orgs.models import Organization
from orgs.serializers import JoinSerializer, OrganizationSerializer
from orgs.views import JoinView

_SHOWN = 200


class OrganizationsPage(PortalPage):
    title = "Organizations"
    section = "organizations"
    template_name = "portal/organizations/list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mine = Organization.objects.as_seen_by(self.person).order_by("name", "pk")
        return super().get_context_data(organizations=list(mine[:_SHOWN]), **kwargs)


class _ToOrganizations(FormPage):
    section = "organizations"

    @property
    def back(self) -> str:
        return reverse("portal:organizations")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = (("Organizations", self.back), (self.title, None))
        return super().get_context_data(**kwargs)


class NameForm(ServiceForm):
    serializer_class = OrganizationSerializer

    name = forms.CharField(
        label="Name", max_length=100, widget=forms.TextInput({"autocomplete": "organization"})
    )


class NewOrganizationPage(_ToOrganizations):
    title = "Create an organization"
    button = "Create"
    lead = (
        "An organization owns clusters and deployments. You become its owner, and others join with"
        " its invite code."
    )
    form_class = NameForm

    def act(self, form: NameForm) -> str:
        made = services.create(owner=self.person, name=form.given["name"])
        messages.success(self.request, f"{made.name} exists. Next, add a cluster.")
        return f"{reverse('portal:new_cluster')}?organization={made.pk}"


class CodeForm(ServiceForm):
    serializer_class = JoinSerializer

    invite_code = forms.CharField(
        label="Invite code",
        max_length=100,
        widget=forms.TextInput({"autocomplete": "off", "spellcheck": "false"}),
        help_text="An admin of the organization finds it on the page of its members.",
    )


class JoinPage(_ToOrganizations):
    title = "Join an organization"
    button = "Join"
    form_class = CodeForm

    def make_form(self, data: Any = None) -> CodeForm:
        return CodeForm(data, initial={"invite_code": self.request.GET.get("code", "")})

    def act(self, form: CodeForm) -> str:
        check_rate(self.request, self.person, JoinView.throttle_scope)
        joined = services.join(self.person, **form.given)
        name = joined.organization.name
        messages.success(self.request, f"You are now a {joined.role} of {name}.")
        return reverse("portal:organization", args=[joined.organization_id])
