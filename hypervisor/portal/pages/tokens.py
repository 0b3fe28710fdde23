"""API tokens: the person's own, and those of service accounts that the person administers."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.bases import PortalPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.organizations.members import ACCOUNTS
from orgs.models import ApiToken, Organization, ServiceAccount
from orgs.permissions import require
from orgs.tokens import services
from orgs.tokens.grants import Scope
from orgs.tokens.serializers import ApiTokenSerializer

_SHOWN = 500

_SCOPES = {
    Scope.READ: "read: see what you see",
    Scope.SUBMIT: "submit: also submit deployments, and change your own",
    Scope.ADMIN: "admin: everything that you may do",
}


class TokensPage(PortalPage):
    title = "Tokens"
    section = "tokens"
    template_name = "portal/tokens/list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        tokens = _tokens(self).select_related("organization")
        shown = list(tokens.order_by("-pk")[:_SHOWN])
        return super().get_context_data(
            own=[token for token in shown if token.user_id == self.person.pk],
            of_accounts=[token for token in shown if token.user_id != self.person.pk],
            now=timezone.now(),
            **kwargs,
        )


class TokenForm(ServiceForm):
    serializer_class = ApiTokenSerializer
    shown_at = {"expires_in_days": "days", "scopes": "scope"}

    name = forms.CharField(
        label="Name", max_length=100, help_text="What it is for, such as nightly training."
    )
    scope = forms.ChoiceField(
        label="Scope", choices=list(_SCOPES.items()), initial=Scope.SUBMIT, widget=forms.RadioSelect
    )
    organization = forms.ModelChoiceField(
        Organization.objects.none(),
        label="Organization",
        required=False,
        empty_label="All of mine",
        help_text="A token for one organization is refused in all others.",
    )
    days = IntegerFormField(
        label="Valid for how many days", min_value=1, initial=services.DEFAULT_DAYS
    )

    def body(self) -> dict[str, Any]:
        given = self.cleaned_data
        organization = given.get("organization")
        return {
            "name": given["name"],
            "scopes": [given["scope"]],
            "expires_in_days": given["days"],
            "organization": organization.pk if organization else None,
        }


class NewTokenPage(FormPage):
    section = "tokens"
    title = "New token"
    button = "Create"
    form_class = TokenForm
    account: ServiceAccount | None = None

    def prepare(self) -> None:
        """Read the service account. Raises Forbidden if the person does not administer it."""
        asked = self.request.GET.get("service_account")
        if asked is not None:
            accounts = ServiceAccount.objects.visible_to(self.person)
            rows = accounts.select_related("user", "organization")
            self.account = get_object_or_404(rows, pk=whole(asked) or 0)
            require(self.person, self.account.organization_id, ACCOUNTS)
            self.title = f"New token for {self.account.name}"

    @property
    def back(self) -> str:
        return reverse("portal:tokens")

    def make_form(self, data: Any = None) -> TokenForm:
        form = TokenForm(data)
        if self.account:
            del form.fields["organization"]
        else:
            field = form.fields["organization"]
            field.queryset = Organization.objects.visible_to(self.person).order_by("name")  # type: ignore[attr-defined]
        return form

    def act(self, form: TokenForm) -> HttpResponse:
        given = form.given
        token, text = services.create(
            self.person,
            name=given["name"],
            scope=given["scopes"],
            days=given["expires_in_days"],
            organization=form.cleaned_data.get("organization"),
            account=self.account,
        )
        address = self.request.build_absolute_uri("/").rstrip("/")
        return self.show_once(
            f"Token {token.name}",
            text,
            lead="Copy the token now: it is not stored, and no page shows it again.",
            commands=[
                (
                    "Log in with the command line:",
                    f"echo {text} | hv login {address} --token-stdin",
                ),
                (
                    "Or call the API:",
                    f'curl -H "Authorization: Bearer {text}" {address}/deployments',
                ),
            ],
        )

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = (("Tokens", self.back), (self.title, None))
        return super().get_context_data(**kwargs)


class RevokeTokenPage(ConfirmPage):
    section = "tokens"
    button = "Revoke"

    @property
    def token(self) -> ApiToken:
        return get_object_or_404(_tokens(self), pk=self.kwargs["pk"])

    @property
    def back(self) -> str:
        return reverse("portal:tokens")

    @property
    def consequences(self) -> list[str]:
        token = self.token
        used = (
            f"last used {token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "unused"
        )
        return [f"Programs that use the token {token.start}… ({used}) are refused from now on."]

    def act(self) -> str:
        token = self.token
        services.revoke([token], actor=self.person.username)
        messages.success(self.request, f"The token {token.name} is revoked.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Revoke {self.token.name}"
        self.breadcrumbs = (("Tokens", self.back), (self.title, None))
        return super().get_context_data(**kwargs)


def _tokens(page: PortalPage) -> "QuerySet[ApiToken]":
    return ApiToken.objects.visible_to(page.person).select_related("user__service_account")
