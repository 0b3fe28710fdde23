"""What a person leaves with the account: all organizations."""

from accounts.models import User
from hypervisor.base.errors import Conflict
from hypervisor.base.names import listed
from orgs.models import Membership, Organization, Role
from orgs.services import remove_member


def leave_all(user: User) -> None:
    """End all memberships of the user. Raises Conflict if an organization has no other owner."""
    mine = Organization.objects.filter(memberships__user=user)
    # Locked in the order of the ids, so that no other owner can leave in the meantime.
    organizations = list(Organization.objects.locked().filter(pk__in=mine.values("pk")))
    owned = Membership.objects.filter(role=Role.OWNER, organization__in=organizations)
    others = set(owned.exclude(user=user).values_list("organization", flat=True))
    own = set(owned.filter(user=user).values_list("organization", flat=True))
    if last := [each.name for each in organizations if each.pk in own - others]:
        raise Conflict(
            f"You are the last owner of {listed(last, 20)}: make another member an owner first, or"
            " delete the organization.",
            code="last_owner",
        )
    for organization in organizations:
        remove_member(organization, actor=user.username, authority=None, user_id=user.pk)
