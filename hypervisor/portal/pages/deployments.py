"""The first page of a member: the own deployments."""

from typing import Any

from deployments.models import Deployment
from hypervisor.portal.bases import PortalPage


class DeploymentsPage(PortalPage):
    title = "My deployments"
    section = "deployments"
    template_name = "portal/deployments.html"
    refresh_s = 5

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        mine = Deployment.objects.visible_to(self.person).filter(created_by=self.person)
        return super().get_context_data(rows=list(mine.order_by("-pk")[:50]), **kwargs)
