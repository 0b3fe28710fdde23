"""What the pages of one organization share."""

from typing import Any, ClassVar

from django.shortcuts import get_object_or_404
from django.urls import reverse

from hypervisor.portal.bases import PortalPage
from orgs.models import Organization, Role
from orgs.permissions import require
from orgs.views import OrganizationViewSet

RENAME = OrganizationViewSet.roles["update"]
INVITE = OrganizationViewSet.roles["regenerate_invite"]
DELETE = OrganizationViewSet.roles["destroy"]
"""The lowest roles that may do these."""

MEMBERS = ("Members", "members")
SETTINGS = ("Settings", "organization_settings")
"""The tabs that have pages below them."""


class OrganizationPage(PortalPage):
    """A page of one organization, for members whose role is at least `least`; 404 for others."""

    section = "organizations"
    tab = ""
    parent: ClassVar[tuple[str, str] | None] = None
    """The title and the name of the tab to which the page belongs, and leads back."""
    least: ClassVar[Role] = Role.VIEWER
    organization: Organization

    def prepare(self) -> None:
        """Read the organization. Raises Forbidden if the person's role is too low."""
        rows = Organization.objects.as_seen_by(self.person)
        self.organization = get_object_or_404(rows, pk=self.kwargs["organization_id"])
        require(self.person, self.organization.pk, self.least)

    @property
    def role(self) -> Role:
        """The person's role in the organization."""
        return Role(self.organization.role)

    def may(self, least: Role) -> bool:
        return self.role.rank >= least.rank

    def address(self, name: str, *arguments: int) -> str:
        """Return the address of another page of the organization."""
        return reverse(f"portal:{name}", args=[self.organization.pk, *arguments])

    @property
    def back(self) -> str:
        return self.address(self.parent[1] if self.parent else "organization")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.breadcrumbs = self.breadcrumbs or (
            ("Organizations", reverse("portal:organizations")),
            (self.organization.name, self.address("organization")),
            *([(self.parent[0], self.address(self.parent[1]))] if self.parent else []),
            (self.title, None),
        )
        return super().get_context_data(
            organization=self.organization,
            role=self.role,
            tab=self.tab,
            is_admin=self.may(Role.ADMIN),
            **kwargs,
        )
