"""The role table: the lowest role that an action in an organization needs.

| action                                                             | needs      |
|--------------------------------------------------------------------|------------|
| read the organization, its clusters, deployments and events        | viewer     |
| create deployments; change, start, stop, cancel, delete their own  | developer  |
| the same for all deployments; hold and release; hand over          | admin      |
| create, change, cordon, drain, delete clusters and their nodes     | admin      |
| store, change and delete log-ins to registries                     | admin      |
| see and regenerate the invite code; rename the organization        | admin      |
| change roles and remove members, below their own role              | admin      |
| add and delete service accounts, below their own role; their tokens | admin     |
| see, add, change, test and delete webhooks; replay deliveries      | admin      |
| see, add, change, test and delete the rules for its notices       | admin      |
| rules for notices to oneself about the organization's deployments  | viewer     |
| delete the organization; make another member an owner              | owner      |

A caller with an API token has the role that the token leaves of the member's, and only in the
token's organization if it is for one.
"""

from collections.abc import Sequence

from accounts.idempotency import record_needed
from accounts.models import User
from hypervisor.base.errors import Forbidden, Invalid, NotFound
from hypervisor.base.prepared import Prepared
from orgs.models import Membership, Organization, Role
from orgs.tenancy import Person, id_of, memberships_of
from orgs.tokens.grants import grant_of, require_scope

_CHOICES = 10
"""The maximum number of organizations that an error lists."""


first_memberships = Prepared(
    lambda user: (
        Membership.objects.filter(user=user)
        .select_related("organization")
        .order_by("organization")[: _CHOICES + 1]
    ),
    related="organization",
)
_membership = Prepared(
    lambda user, organization: Membership.objects.filter(
        user=user, organization=organization
    ).select_related("organization"),
    related="organization",
)


def role_of(user: Person, organization_id: int) -> Role:
    """Return the person's role. Raises NotFound for a non-member, as for an unknown id."""
    return _full_role_of(user, organization_id).within(grant_of(user))


def roles_of(user: Person) -> dict[int, Role]:
    """Return the person's role in each of the person's organizations."""
    found = memberships_of(user).values_list("organization", "role")
    return {organization: Role(role).within(grant_of(user)) for organization, role in found}


def administered_by(user: Person) -> list[int]:
    """Return the ids of the organizations in which the person is at least an admin."""
    return [pk for pk, role in roles_of(user).items() if role.rank >= Role.ADMIN.rank]


def require(user: Person, organization_id: int, least: Role) -> Role:
    """Return the person's role. Raises Forbidden if it is lower than `least`."""
    role = _full_role_of(user, organization_id)
    _check(user, role, organization_id, least)
    return role.within(grant_of(user))


def organization_for(user: Person, organization_id: int | None, least: Role) -> Organization:
    """Return the organization that a POST means: the one it names, or the caller's only one.

    Raises NotFound if the caller is not a member of it, Forbidden if the caller's role there is
    lower than `least`, and Invalid if none is named and the caller is a member of none or several.
    """
    grant = grant_of(user)
    if grant is not None and grant.organization is not None:
        if organization_id not in (None, grant.organization):
            raise _unknown(organization_id)
        organization_id = grant.organization
    found = _memberships_that_decide(user, organization_id)
    if len(found) == 1:
        _check(user, Role(found[0].role), found[0].organization_id, least)
        return found[0].organization
    if organization_id is not None:
        raise _unknown(organization_id)
    raise Invalid(
        _choose([membership.organization for membership in found])
        if found
        else "You are not a member of any organization: create one, or join one with an invite"
        " code.",
        attr="organization",
        code="required",
    )


def _memberships_that_decide(user: Person, organization_id: int | None) -> list[Membership]:
    """Return the membership in this organization if there is one; with None, the first ones."""
    read: list[Membership] | None = None
    if isinstance(user, User):
        read = user.read_ahead.take(first_memberships)
    if organization_id is None:
        return first_memberships(id_of(user)) if read is None else read
    if read is None or len(read) > _CHOICES:
        return _membership(id_of(user), organization_id)
    return [membership for membership in read if membership.organization_id == organization_id]


def has_authority(own_role: Role | None, role: Role) -> bool:
    """Return whether a member with the own role may change members with the other, or give it.

    An operator of the platform, whose own role is None, ranks above all members.
    """
    return own_role is None or own_role.rank > max(role.rank, Role.DEVELOPER.rank)


def check_authority(own_role: Role | None, role: Role) -> None:
    """Raise Forbidden unless the role is below the member's own, and that is admin or owner."""
    if not has_authority(own_role, role):
        raise Forbidden(
            f"This needs the role admin or owner, and one above {role}; yours is {own_role}. Ask an"
            " owner of the organization."
        )


def _full_role_of(user: Person, organization_id: int) -> Role:
    """Return the member's role, whatever the token's scope. Raises NotFound for a non-member."""
    mine = memberships_of(user).filter(organization=organization_id)
    role = mine.values_list("role", flat=True).first()
    if role is None:
        raise NotFound(f"Organization {organization_id} does not exist.")
    return Role(role)


def _unknown(organization_id: int | None) -> NotFound:
    return NotFound(f"Organization {organization_id} does not exist.", attr="organization")


def _check(user: Person, role: Role, organization_id: int, least: Role) -> None:
    if role.rank < least.rank:
        raise Forbidden(
            f"This needs the role {least} or higher; yours is {role}. Ask an admin of the"
            " organization."
        )
    require_scope(user, least.scope)
    record_needed(organization_id, least)


def _choose(organizations: Sequence[Organization]) -> str:
    choices = ", ".join(f"{row.pk} ({row.name})" for row in organizations[:_CHOICES])
    more = " and others" if len(organizations) > _CHOICES else ""
    return (
        f"You are a member of several organizations: give the id of one of them, {choices}{more}."
    )
