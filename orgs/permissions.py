"""The role table: who may do what in an organization.

| may                                                                | least role |
|--------------------------------------------------------------------|------------|
| read the organization, its clusters, deployments and events        | viewer     |
| create deployments; change, start, stop, cancel, delete their own  | developer  |
| the same for everybody's; hold and release; hand over              | admin      |
| create, change, cordon, drain, delete clusters                     | admin      |
| see and regenerate the invite code; rename the organization        | admin      |
| change roles and remove members, below their own role              | admin      |
| delete the organization; make another member owner                 | owner      |
"""

from accounts.idempotency import note_needed
from hypervisor.base.errors import Forbidden, Invalid, NotFound
from orgs.models import Membership, Organization, Role
from orgs.tenancy import Person, id_of


def role_of(user: Person, organization_id: int) -> Role:
    """Return the person's role. Raises NotFound for a stranger, as for what does not exist."""
    role = (
        Membership.objects.filter(user_id=id_of(user), organization=organization_id)
        .values_list("role", flat=True)
        .first()
    )
    if role is None:
        raise NotFound(f"Organization {organization_id} does not exist.")
    return Role(role)


def require(user: Person, organization_id: int, least: Role) -> Role:
    """Return the person's role. Raises Forbidden when it is lower than the least that may."""
    role = role_of(user, organization_id)
    if role.rank < least.rank:
        raise Forbidden(
            f"This needs the role {least} or higher; yours is {role}. Ask an admin of the"
            " organization."
        )
    note_needed(organization_id, least)
    return role


def organization_for(user: Person, organization_id: int | None) -> Organization:
    """Return the organization that a request means: the one it names, or the caller's only one.

    Raises NotFound for one that the caller is no member of, Invalid when none is named and the
    caller is a member of none or of several.
    """
    mine = Organization.objects.visible_to(user)
    if organization_id is not None:
        named = mine.filter(pk=organization_id).first()
        if named is None:
            raise NotFound(f"Organization {organization_id} does not exist.", attr="organization")
        return named
    organizations = list(mine[:2])
    if len(organizations) == 1:
        return organizations[0]
    raise Invalid(
        "You are a member of several organizations: name the one that is meant."
        if organizations
        else "You are a member of no organization: create one, or join one with an invite code.",
        attr="organization",
        code="required",
    )
