"""A new invite code, with its terms."""

from typing import Any

from django.contrib import messages

from hypervisor.base.forms import IntegerFormField
from hypervisor.portal.actions import FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.organizations.base import INVITE, MEMBERS, OrganizationPage
from orgs import services
from orgs.serializers import InviteTermsSerializer

_DAY_S = 86400


class TermsForm(ServiceForm):
    serializer_class = InviteTermsSerializer
    shown_at = {"expires_in_s": "days", "expires_at": "days"}

    days = IntegerFormField(
        label="Valid for how many days",
        min_value=1,
        max_value=3660,
        required=False,
        help_text="Without a number, until it is replaced.",
    )
    max_uses = IntegerFormField(
        label="For how many people",
        min_value=1,
        required=False,
        help_text="Without a number, for any number of people.",
    )

    def body(self) -> dict[str, Any]:
        given = super().body()
        return given | ({"expires_in_s": given.pop("days") * _DAY_S} if "days" in given else {})


class InvitePage(OrganizationPage, FormPage):
    title = "New invite code"
    least = INVITE
    button = "Replace the code"
    lead = "The present code stops working at once."
    form_class = TermsForm
    parent = MEMBERS

    def act(self, form: TermsForm) -> str:
        services.regenerate_invite(self.organization, actor=self.person.username, **form.given)
        messages.success(self.request, "There is a new invite code; the old one no longer works.")
        return self.back
