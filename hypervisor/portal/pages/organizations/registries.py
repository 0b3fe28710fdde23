"""An organization's log-ins to registries."""

from typing import Any

from django import forms
from django.contrib import messages
from django.shortcuts import get_object_or_404

from deployments.registries import services
from deployments.registries.models import Registry
from deployments.registries.serializers import RegistrySerializer
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.forms import ServiceForm
from hypervisor.portal.pages.organizations.base import SETTINGS, OrganizationPage
from hypervisor.portal.pages.organizations.settings import REGISTRIES


class RegistryForm(ServiceForm):
    serializer_class = RegistrySerializer

    host = forms.CharField(
        label="Registry",
        max_length=255,
        help_text="As images name it, with a port if they do, such as registry.example.org:5000."
        " Images without a registry are from docker.io.",
    )
    username = forms.CharField(
        label="User", max_length=255, widget=forms.TextInput({"autocomplete": "off"})
    )
    password = forms.CharField(
        label="Password or token",
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text="It is stored encrypted and never shown again.",
    )


class _ToSettings(OrganizationPage):
    least = REGISTRIES
    parent = SETTINGS


class NewRegistryPage(_ToSettings, FormPage):
    title = "Add a registry"
    button = "Add"
    lead = "Engines pull the organization's images from this registry with this log-in."
    form_class = RegistryForm

    def act(self, form: RegistryForm) -> str:
        registry = services.add(
            actor=self.person.username, organization=self.organization, **form.given
        )
        messages.success(self.request, f"Images of {registry.host} are pulled with this log-in.")
        return self.back


class DeleteRegistryPage(_ToSettings, ConfirmPage):
    button = "Delete"

    @property
    def registry(self) -> Registry:
        rows = Registry.objects.filter(organization=self.organization)
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @property
    def consequences(self) -> list[str]:
        return ["Images that engines have already pulled remain there; others may be refused."]

    def act(self) -> str:
        registry = self.registry
        services.delete(registry, actor=self.person.username)
        messages.success(self.request, f"The log-in to {registry.host} is deleted.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Delete the log-in to {self.registry.host}"
        return super().get_context_data(**kwargs)
