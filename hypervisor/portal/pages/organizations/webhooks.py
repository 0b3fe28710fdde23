"""An organization's webhooks."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404

from hypervisor.base.errors import DomainError
from hypervisor.base.forms import IntegerFormField
from hypervisor.base.numbers import whole
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.kinds import KindsField
from hypervisor.portal.pages.organizations.base import SETTINGS, OrganizationPage
from orgs.models import Delivery, Webhook
from orgs.webhooks import services, targets
from orgs.webhooks.serializers import RotationSerializer, WebhookSerializer
from orgs.webhooks.views import WebhookViewSet

WEBHOOKS = WebhookViewSet.roles["retrieve"]
"""The lowest role that may see and change webhooks."""

_DELIVERIES_SHOWN = 20
_CHANGEABLE = ("url", "description", "kinds")
_SECRET = "The webhook's secret"  # noqa: S105 a title
_KEEP_IT = "With it, the receiver verifies signatures. It is shown only now: keep it."


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
    kinds = KindsField(
        label="Events",
        required=False,
        help_text="Only events of the chosen kinds are sent; all events if you choose none.",
    )


class RotationForm(ServiceForm):
    serializer_class = RotationSerializer

    keep_hours = IntegerFormField(
        label="Keep the present secret for, in hours",
        min_value=0,
        max_value=services.MOST_KEEP_HOURS,
        initial=services.KEEP_HOURS,
        help_text="Until then, messages are signed with both, so that the receiver can change to"
        " the new one. 0: no former secret signs any more, because it may have leaked.",
    )


class _WebhookPage(OrganizationPage):
    least = WEBHOOKS
    parent = SETTINGS

    @property
    def webhook(self) -> Webhook:
        rows = Webhook.objects.filter(organization=self.organization)
        return get_object_or_404(rows, pk=self.kwargs["pk"])


class NewWebhookPage(_WebhookPage, FormPage):
    title = "Add a webhook"
    button = "Add"
    lead = "What happens in the organization from now on is sent to this address."
    form_class = WebhookForm

    def act(self, form: WebhookForm) -> HttpResponse:
        given = {name: form.given[name] for name in _CHANGEABLE}
        webhook, secret = services.add(self.organization, by=self.person, **given)
        back = self.address("webhook", webhook.pk)
        return self.show_once(_SECRET, secret, lead=_KEEP_IT, back=back)


class _BelowWebhook(_WebhookPage, FormPage):
    @property
    def back(self) -> str:
        return self.address("webhook", self.kwargs["pk"])


class ChangeWebhookPage(_BelowWebhook):
    title = "Change the webhook"
    button = "Change"
    form_class = WebhookForm

    def make_form(self, data: Any = None) -> WebhookForm:
        webhook = self.webhook
        return WebhookForm(data, initial={name: getattr(webhook, name) for name in _CHANGEABLE})

    def act(self, form: WebhookForm) -> str:
        changes = {name: form.given[name] for name in _CHANGEABLE}
        services.update(self.webhook, actor=self.person.username, changes=changes)
        messages.success(self.request, "The webhook is changed.")
        return self.back


class RotateSecretPage(_BelowWebhook):
    title = "Replace the secret"
    button = "Replace"
    lead = "The next page shows the new secret, and only that page does."
    form_class = RotationForm

    def act(self, form: RotationForm) -> HttpResponse:
        _webhook, secret = services.rotate_secret(
            self.webhook, actor=self.person.username, keep_hours=form.given["keep_hours"]
        )
        return self.show_once(_SECRET, secret, lead=_KEEP_IT, back=self.back)


class WebhookPage(_WebhookPage):
    template_name = "portal/organizations/webhook.html"
    title = "Webhook"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        webhook = self.webhook
        deliveries = webhook.deliveries.order_by("-pk")[:_DELIVERIES_SHOWN]
        failed = webhook.deliveries.filter(status=Delivery.Status.FAILED, number__isnull=False)
        return super().get_context_data(
            webhook=webhook, deliveries=deliveries, failed=failed.count(), **kwargs
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Do what the pressed button says."""
        webhook = self.webhook
        try:
            messages.success(request, self._carry_out(webhook, request.POST))
        except DomainError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(self.address("webhook", webhook.pk))

    def _carry_out(self, webhook: Webhook, pressed: QueryDict) -> str:
        """Test, enable or disable the webhook, or send messages again; return what was done."""
        actor = self.person.username
        if "test" in pressed:
            services.send_test(webhook)
            return "A test is being sent; its result appears below."
        if "replay" in pressed:
            rows = webhook.deliveries.filter(pk=whole(pressed.get("replay", "")) or 0)
            services.replay(get_object_or_404(rows))
            return "The message is being sent again; its result appears below."
        if "replay_failed" in pressed:
            count = services.replay_range(webhook, wanted=Q(), only_failed=True)
            return f"{count} message{'' if count == 1 else 's'} that failed: being sent again."
        if "enable" in pressed:
            services.enable(webhook, actor=actor)
            return "Events are sent again."
        services.disable(webhook, actor=actor, reason=services.disabled_by(actor))
        return "Nothing is sent until it is enabled again."


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
