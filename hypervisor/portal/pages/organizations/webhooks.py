"""An organization's webhooks."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404

from hypervisor.base.errors import DomainError
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.organizations.base import OrganizationPage
from orgs.feed.kinds import KINDS
from orgs.models import Webhook
from orgs.webhooks import services, targets
from orgs.webhooks.serializers import WebhookSerializer
from orgs.webhooks.views import WebhookViewSet

WEBHOOKS = WebhookViewSet.roles["retrieve"]
"""The lowest role that may see and change webhooks."""

_DELIVERIES_SHOWN = 20


class WebhookForm(ServiceForm):
    serializer_class = WebhookSerializer

    url = forms.CharField(
        label="Address",
        max_length=targets.LONGEST,
        widget=forms.URLInput,
        help_text="With https. Its host has to have a public address, unless the operator allows"
        " its network.",
    )
    description = forms.CharField(
        label="Description", max_length=200, required=False, help_text="For people."
    )
    kinds = forms.MultipleChoiceField(
        label="Events",
        choices=[(kind, kind.replace("_", " ")) for kind in KINDS],
        required=False,
        widget=forms.SelectMultiple({"size": 8}),
        help_text="Only events of these kinds are sent; all of them if you choose none.",
    )


class _WebhookPage(OrganizationPage):
    least = WEBHOOKS

    @property
    def back(self) -> str:
        return self.address("organization_settings")

    @property
    def webhook(self) -> Webhook:
        rows = Webhook.objects.filter(organization=self.organization)
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = (
            (self.organization.name, self.address("organization")),
            ("Settings", self.address("organization_settings")),
            (self.title, None),
        )
        return super().get_context_data(**kwargs)


class NewWebhookPage(_WebhookPage, FormPage):
    title = "Add a webhook"
    button = "Add"
    lead = "What happens in the organization from now on is sent to this address."
    form_class = WebhookForm

    def act(self, form: WebhookForm) -> HttpResponse:
        given = {name: form.given[name] for name in ("url", "description", "kinds")}
        webhook, secret = services.add(self.organization, by=self.person, **given)
        return self.show_once(
            "The webhook's secret",
            secret,
            lead="With it, the receiver verifies signatures. It is shown only now: keep it.",
            back=self.address("webhook", webhook.pk),
        )


class WebhookPage(_WebhookPage):
    template_name = "portal/organizations/webhook.html"
    title = "Webhook"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        webhook = self.webhook
        deliveries = webhook.deliveries.order_by("-pk")[:_DELIVERIES_SHOWN]
        return super().get_context_data(webhook=webhook, deliveries=deliveries, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Enable or disable it, or send a test."""
        webhook, actor = self.webhook, self.person.username
        here = self.address("webhook", webhook.pk)
        try:
            if "test" in request.POST:
                services.send_test(webhook)
                messages.success(request, "A test is being sent; its result appears below.")
            elif "enable" in request.POST:
                services.enable(webhook, actor=actor)
                messages.success(request, "Events are sent again.")
            else:
                services.disable(webhook, actor=actor, reason=services.disabled_by(actor))
                messages.success(request, "Nothing is sent until it is enabled again.")
        except DomainError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(here)


class DeleteWebhookPage(_WebhookPage, ConfirmPage):
    title = "Delete the webhook"
    button = "Delete"

    @property
    def consequences(self) -> list[str]:
        return [f"Nothing is sent to {self.webhook.url} any more.", "Its deliveries are deleted."]

    def act(self) -> str:
        services.delete(self.webhook, actor=self.person.username)
        messages.success(self.request, "The webhook is deleted.")
        return self.back
