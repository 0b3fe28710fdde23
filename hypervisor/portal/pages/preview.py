"""The page between an action on a deployment and its confirmation."""

from typing import Any

from django.http import Http404
from django.urls import reverse

from deployments.models import Deployment
from hypervisor.portal.pages.deployment import OfDeployment
from hypervisor.portal.rights import CALLS, MEMBERS_ACTIONS, check
from hypervisor.ui.previews import PreviewMixin


class PreviewPage(PreviewMixin, OfDeployment):
    template_name = "portal/preview.html"

    def prepare(self) -> None:
        """Read the deployment. Raises Forbidden if the person's role does not allow the action."""
        super().prepare()
        name = self.kwargs["action"]
        if name not in MEMBERS_ACTIONS:
            raise Http404(f"No such action: {name}")
        self.action = MEMBERS_ACTIONS[name]
        check(CALLS[name], self.deployment, self.person)
        self.rows, self.subjects = [self.deployment], [self.deployment.pk]
        self.title = f"{self.action.label}: {self.deployment.name}"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = self.path_to(self.action.label)
        return super().get_context_data(**kwargs)

    def way_back(self) -> str:
        if Deployment.objects.filter(pk=self.deployment.pk).exists():
            return self.address
        return reverse("portal:deployments")
