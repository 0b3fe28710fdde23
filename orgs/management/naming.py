"""Find organizations by the names that commands accept."""

from hypervisor.base.commands import named
from orgs.models import Organization


def organization_named(text: str) -> Organization:
    """Return the one organization with this id or name. Raises CommandError otherwise."""
    return named(Organization.objects.order_by("pk"), text, _about)


def _about(organization: Organization) -> str:
    owners = organization.memberships.filter(role="owner").order_by("pk")
    names = owners.values_list("user__username", flat=True)[:3]
    return f"owned by {', '.join(names)}" if names else "without an owner"
