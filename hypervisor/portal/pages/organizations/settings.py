"""An organization's name, its registries and webhooks, and its deletion."""

from typing import Any

from django.contrib import messages
from django.urls import reverse

from deployments.registries.models import Registry
from deployments.registries.views import RegistryViewSet
from hypervisor.portal.actions import ConfirmPage, FormPage
from hypervisor.portal.pages.organizations.base import DELETE, RENAME, SETTINGS, OrganizationPage
from hypervisor.portal.pages.organizations.lists import NameForm
from hypervisor.portal.pages.organizations.webhooks import WEBHOOKS
from orgs import services
from orgs.models import Webhook

REGISTRIES = RegistryViewSet.roles["destroy"]
"""The lowest role that may add and delete log-ins to registries."""


class SettingsPage(OrganizationPage):
    title = "Settings"
    tab = "settings"
    template_name = "portal/organizations/settings.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        here = self.organization
        return super().get_context_data(
            registries=list(Registry.objects.filter(organization=here)),
            webhooks=list(Webhook.objects.filter(organization=here)) if self.may(WEBHOOKS) else [],
            may_rename=self.may(RENAME),
            may_delete=self.may(DELETE),
            may_add_registries=self.may(REGISTRIES),
            may_see_webhooks=self.may(WEBHOOKS),
            **kwargs,
        )


class RenamePage(OrganizationPage, FormPage):
    least = RENAME
    button = "Rename"
    form_class = NameForm
    parent = SETTINGS

    def make_form(self, data: Any = None) -> NameForm:
        return NameForm(data, initial={"name": self.organization.name})

    def act(self, form: NameForm) -> str:
        name = form.given["name"]
        services.rename(self.organization, actor=self.person.username, name=name)
        messages.success(self.request, f"It is now called {name}.")
        return self.back

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Rename {self.organization.name}"
        return super().get_context_data(**kwargs)


class DeletePage(OrganizationPage, ConfirmPage):
    least = DELETE
    button = "Delete everything"
    parent = SETTINGS

    @property
    def consequences(self) -> list[str]:
        name = self.organization.name
        return [
            f"Everything in {name} is deleted with it: clusters, deployments, output, events.",
            "This cannot be undone. It is refused while deployments are active.",
        ]

    def act(self) -> str:
        services.delete(self.organization, actor=self.person.username)
        messages.success(self.request, f"{self.organization.name} is deleted.")
        return reverse("portal:organizations")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.title = f"Delete {self.organization.name}"
        return super().get_context_data(**kwargs)
