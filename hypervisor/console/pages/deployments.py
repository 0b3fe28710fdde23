"""The page of one deployment: its state and the reason, its history, and the possible actions."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from deployments.choices import OCCUPYING
from hypervisor.console.pages.base import TopLevelPage
from hypervisor.ui.data.deployment import Button, describe, offered


class DeploymentPage(TopLevelPage):
    template_name = "console/deployment.html"
    deployment: Any = None

    def has_permission(self) -> bool:
        return bool(self.model_admin.has_view_permission(self.request, self.deployment))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        deployment = self.deployment
        self.title = f"Deployment {deployment.pk}: {deployment.name}"
        self.breadcrumbs = [
            ("Deployments", reverse("admin:deployments_deployment_changelist")),
            (deployment.name, None),
        ]
        return super().get_context_data(
            **describe(deployment, timezone.now(), self.request.GET.get("events")),
            buttons=self._buttons(),
            may_edit=self.model_admin.has_change_permission(self.request, deployment),
            may_delete=deployment.status not in OCCUPYING
            and self.model_admin.has_delete_permission(self.request, deployment),
            **kwargs,
        )

    def _buttons(self) -> list[Button]:
        """Return the actions that apply now and that the operator may take, and the logs."""
        query = urlencode({"id": self.deployment.pk, "next": self.request.get_full_path()})
        return [
            *(
                Button(
                    f"{action.label}\N{HORIZONTAL ELLIPSIS}",
                    f"{reverse('preview', args=[action.name])}?{query}",
                    action.hint,
                    action.stops_work,
                )
                for action in offered(self.deployment)
                if self.request.user.has_perm(action.permission)
            ),
            Button("Logs", reverse("logs", args=[self.deployment.pk])),
        ]
