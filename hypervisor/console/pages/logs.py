"""The page of a deployment's logs, refreshed while its container runs."""

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse

from deployments.models import Deployment
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.data.logs import output_of


class LogsPage(TopLevelPage):
    permission_required = "deployments.view_deployment"
    template_name = "console/logs.html"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.deployment = get_object_or_404(Deployment.objects.defer("env"), pk=kwargs["pk"])
        self.title = f"Logs of {self.deployment.name}"
        self.breadcrumbs = [
            ("Deployments", reverse("admin:deployments_deployment_changelist")),
            (self.deployment.name, _page(self.deployment)),
            ("Logs", None),
        ]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        output = output_of(self.deployment, self.request.GET)
        self.refresh_s = 3 if output.may_grow else None
        return super().get_context_data(deployment=self.deployment, output=output, **kwargs)


def _page(deployment: Deployment) -> str:
    return reverse("admin:deployments_deployment_change", args=[deployment.pk])
