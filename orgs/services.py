"""What people do to organizations: one verb a function, each atomic and with one event.

`actor` is a username. Whoever changes members does so with the `authority` of a member, or of an
operator of the platform (None), who stands above all of them. The member's role is read under the
organization's lock: who has just been demoted finishes no change.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from accounts.services import create_user
from hypervisor.base import bounds
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Forbidden, NotFound
from orgs import deletion
from orgs.departures import Left, left_behind, sentence
from orgs.events import record
from orgs.models import Membership, Organization, Role, new_invite_code
from orgs.permissions import role_of
from orgs.tenancy import Person

log = structlog.get_logger(__name__)

_INVITE = ("invite_code", "invite_expires_at", "invite_max_uses", "invite_uses")


def check_registration_is_open() -> None:
    """Raise Forbidden when nobody may register."""
    if settings.REGISTRATION == "closed":
        raise Forbidden(
            "Registration is closed: ask an operator of this service for a user.",
            code="registration_closed",
        )


@transaction.atomic
def register(*, username: str, email: str, password: str, invite_code: str | None) -> User:
    """Add a person, as a member where the invite code leads. A wrong code registers nobody.

    Raises Forbidden when registration is closed, or takes an invite code and there is none.
    """
    check_registration_is_open()
    if settings.REGISTRATION == "invite" and invite_code is None:
        raise Forbidden(
            "Registration needs an invite code: give the `invite_code` of an organization, which"
            " its admins can see.",
            attr="invite_code",
            code="invite_code_required",
        )
    user = create_user(username=username, email=email, password=password)
    if invite_code is not None:
        join(user, invite_code=invite_code)
    return user


@transaction.atomic
def create(*, owner: User, name: str, bounded: bool = True) -> Organization:
    """Found an organization. Raises Conflict when the owner has too many."""
    if bounded:
        bounds.check([_bound(owner)])
    organization = Organization.objects.create(name=name)
    organization.memberships.create(user=owner, role=Role.OWNER)
    record(organization, "created", owner.username, f"{name} created.")
    return organization


@transaction.atomic
def rename(organization: Organization, *, actor: str, name: str) -> Organization:
    organization = Organization.objects.get_locked(organization.pk)
    if organization.name != name:
        data = {"name": [organization.name, name]}
        organization.name = name
        organization.save(update_fields=["name"])
        record(organization, "renamed", actor, f"Now called {name}.", data)
    return organization


@transaction.atomic
def regenerate_invite(
    organization: Organization,
    *,
    actor: str,
    expires_at: datetime | None = None,
    max_uses: int | None = None,
) -> Organization:
    """Replace the invite code: the old one stops working at once.

    The new one works until then and for so many people, where that is said.
    """
    organization = Organization.objects.get_locked(organization.pk)
    organization.invite_code = new_invite_code()
    organization.invite_expires_at = expires_at
    organization.invite_max_uses = max_uses
    organization.invite_uses = 0
    organization.save(update_fields=_INVITE)
    data = {"expires_at": expires_at and expires_at.isoformat(), "max_uses": max_uses}
    record(organization, "invite_regenerated", actor, "The old invite code stopped working.", data)
    return organization


@transaction.atomic
def join(user: User, *, invite_code: str) -> Membership:
    """Make the person a developer. Raises NotFound for a bad code, Conflict for a member.

    A code that is expired or used up is refused like an unknown one: a guess learns nothing.
    """
    # Under the lock, so that no code lets in anybody after it was replaced, or one too many.
    organization = Organization.objects.locked().filter(invite_code=invite_code).first()
    if organization is None or not organization.admits(timezone.now()):
        raise NotFound(
            "No organization can be joined with this invite code: ask its admin for the present"
            " one.",
            attr="invite_code",
        )
    try:
        with transaction.atomic():
            membership = organization.memberships.create(user=user, role=Role.DEVELOPER)
    except IntegrityError as error:
        raise Conflict(f"You are a member of {organization.name} already.") from error
    organization.invite_uses += 1
    organization.save(update_fields=["invite_uses"])
    record(organization, "member_joined", user.username, f"{user.username} joined.")
    return membership


@transaction.atomic
def add_member(organization: Organization, *, actor: str, user: User, role: Role) -> Membership:
    """Make somebody a member, as operators do. Raises Conflict for one who is a member already."""
    organization = Organization.objects.get_locked(organization.pk)
    try:
        with transaction.atomic():
            membership = organization.memberships.create(user=user, role=role)
    except IntegrityError as error:
        raise Conflict(f"{user.username} is a member of {organization.name} already.") from error
    data = {"user": user.pk, "role": role}
    record(organization, "member_added", actor, f"{user.username} is {role} now.", data)
    return membership


@transaction.atomic
def change_role(
    organization: Organization, *, actor: str, authority: Person | None, user_id: int, role: Role
) -> Membership:
    """Give a member another role.

    Raises Forbidden when the member's role, or the new one, is not below the actor's, and Conflict
    when the last owner would be none. Owners make owners; anybody may step down.
    """
    organization = Organization.objects.get_locked(organization.pk)
    own_role = role_of(authority, organization.pk) if authority else None
    member = _member(organization, user_id)
    before = Role(member.role)
    if role == before:
        return member
    if not _steps_down(member, actor, role):
        _check_authority(own_role, before)
        if (own_role, role) != (Role.OWNER, Role.OWNER):
            _check_authority(own_role, role)
    _check_another_owner(organization, member)
    member.role = role
    member.save(update_fields=["role"])
    data = {"user": user_id, "role": [before, role]}
    reason = f"{member.user.username} is {role} now; was {before}."
    record(organization, "role_changed", actor, reason, data)
    return member


@transaction.atomic
def remove_member(
    organization: Organization, *, actor: str, authority: Person | None, user_id: int
) -> Left:
    """End a membership; anybody may end their own. Returns what the member leaves behind.

    Raises Forbidden when the member's role is not below the actor's, Conflict for the last owner.
    """
    organization = Organization.objects.get_locked(organization.pk)
    own_role = role_of(authority, organization.pk) if authority else None
    member = _member(organization, user_id)
    if member.user.username != actor:
        _check_authority(own_role, Role(member.role))
    _check_another_owner(organization, member)
    member.delete()
    left = left_behind(organization.pk, user_id)
    reason = f"{member.user.username} is no member any more."
    if left:
        reason = f"{reason} Left behind: {sentence(left)}."
    record(organization, "member_removed", actor, reason, {"user": user_id, "left": left})
    return left


@transaction.atomic
def delete(organization: Organization, *, actor: str) -> None:
    """Remove an organization with all that is its own, so that only the log tells of it.

    Raises Conflict while something runs.
    """
    # For deletion: a row that is added to the organization at this moment has to wait.
    row = Organization.objects.get_locked(organization.pk, for_deletion=True)
    deletion.prepare(row)
    row.delete()
    log.info("organization_deleted", organization=organization.pk, name=row.name, actor=actor)


def _bound(owner: User) -> Bound:
    return Bound(
        "MAX_ORGANIZATIONS_PER_USER",
        owner.pk,
        Membership.objects.filter(user=owner, role=Role.OWNER),
        lambda there, bound: (
            f"{owner.username} owns {there} organizations, and may found no more than {bound}:"
            " delete one, or ask an operator of this service to add one."
        ),
    )


def protect_organizations(ids: Iterable[int]) -> None:
    """Keep these from being deleted until the caller's transaction ends; taken before other locks.

    Raises NotFound when one does not exist any more.
    """
    wanted = set(ids)
    if gone := wanted - Organization.objects.protect(wanted):
        raise NotFound(f"Organization {min(gone)} does not exist.", attr="organization")


def _steps_down(member: Membership, actor: str, role: Role) -> bool:
    return member.user.username == actor and role.rank < Role(member.role).rank


def _check_authority(own_role: Role | None, role: Role) -> None:
    if own_role is not None and (own_role.rank < Role.ADMIN.rank or own_role.rank <= role.rank):
        raise Forbidden(
            f"This takes a role above {role}, and admin or owner; yours is {own_role}. Ask an"
            " owner of the organization."
        )


def _check_another_owner(organization: Organization, member: Membership) -> None:
    if member.role != Role.OWNER:
        return
    owners = organization.memberships.filter(role=Role.OWNER)
    if not owners.exclude(pk=member.pk).exists():
        raise Conflict(
            f"{member.user.username} is the last owner of {organization.name}: make another member"
            " owner first, or delete the organization."
        )


def _member(organization: Organization, user_id: int) -> Membership:
    member = organization.memberships.select_related("user").filter(user=user_id).first()
    if member is None:
        raise NotFound(f"Organization {organization.pk} has no member with the id {user_id}.")
    return member
