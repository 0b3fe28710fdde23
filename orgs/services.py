"""Changes to organizations: one verb per function, each atomic and with one event.

`actor` is a username. A change of members needs an `authority`: a member, or None for an operator
of the platform, who ranks above all members. The member's role is read under the organization's
lock, so that a member who has just been demoted cannot complete a change.
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
from orgs.models import ApiToken, Membership, Organization, Role, new_invite_code
from orgs.permissions import check_authority, role_of
from orgs.service_accounts import services as service_accounts
from orgs.tenancy import Person
from orgs.tokens.grants import require_account

log = structlog.get_logger(__name__)

_INVITE = ("invite_code", "invite_expires_at", "invite_max_uses", "invite_uses")


def check_registration_is_open() -> None:
    """Raise Forbidden if registration is closed, or nobody but operators uses a password."""
    if settings.REGISTRATION == "closed" or settings.LOCAL_SIGN_IN != "on":
        raise Forbidden(
            "Registration is closed: ask an operator of this service to create a user for you.",
            code="registration_closed",
        )


@transaction.atomic
def register(*, username: str, email: str, password: str, invite_code: str | None) -> User:
    """Add a user, and make the user a member with the invite code if there is one.

    Raises Forbidden if registration is closed, or needs an invite code and there is none, and
    NotFound for a wrong code, without adding the user.
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
    """Create an organization. Raises Conflict if the owner already owns too many."""
    _check_person(owner)
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

    The new one works until `expires_at` and for `max_uses` people, if these are given.
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
    """Make the user a developer. Raises NotFound for a bad code, Conflict if already a member.

    A code that is expired or used up gets the same error as an unknown one, so that a guess
    reveals nothing.
    """
    # Checked under the lock, so that a code that was replaced or is used up is never accepted.
    organization = Organization.objects.locked().filter(invite_code=invite_code).first()
    if organization is None or not organization.admits(timezone.now()):
        raise NotFound(
            "This invite code is not valid: ask an admin of the organization for the current one.",
            attr="invite_code",
        )
    try:
        with transaction.atomic():
            membership = organization.memberships.create(user=user, role=Role.DEVELOPER)
    except IntegrityError as error:
        raise Conflict(f"You are already a member of {organization.name}.") from error
    organization.invite_uses += 1
    organization.save(update_fields=["invite_uses"])
    record(organization, "member_joined", user.username, f"{user.username} joined.")
    return membership


@transaction.atomic
def add_member(organization: Organization, *, actor: str, user: User, role: Role) -> Membership:
    """Make the user a member; for operators. Raises Conflict if the user already is one."""
    _check_person(user)
    organization = Organization.objects.get_locked(organization.pk)
    try:
        with transaction.atomic():
            membership = organization.memberships.create(user=user, role=role)
    except IntegrityError as error:
        raise Conflict(f"{user.username} is already a member of {organization.name}.") from error
    data = {"user": user.pk, "role": role}
    record(organization, "member_added", actor, f"{user.username} was added as {role}.", data)
    return membership


@transaction.atomic
def change_role(
    organization: Organization, *, actor: str, authority: Person | None, user_id: int, role: Role
) -> Membership:
    """Give a member another role.

    Raises Forbidden if the member's role or the new one is not below the actor's, and Conflict if
    the organization would be left without an owner. Exceptions: an owner may make a member an
    owner, and members may lower their own role.
    """
    organization = Organization.objects.get_locked(organization.pk)
    own_role = role_of(authority, organization.pk) if authority else None
    member = _member(organization, user_id)
    before = Role(member.role)
    if role == before:
        return member
    if role is Role.OWNER:
        _check_person(member.user)
    if not _steps_down(member, actor, role):
        check_authority(own_role, before)
        if (own_role, role) != (Role.OWNER, Role.OWNER):
            check_authority(own_role, role)
    _check_another_owner(organization, member)
    member.role = role
    member.save(update_fields=["role"])
    data = {"user": user_id, "role": [before, role]}
    reason = f"{member.user.username} is now {role}, and was {before}."
    record(organization, "role_changed", actor, reason, data)
    return member


@transaction.atomic
def hand_over_ownership(organization: Organization, *, owner: User, user_id: int) -> None:
    """Make the member an owner and the present owner an admin.

    Raises the errors of `change_role`.
    """
    for pk, role in ((user_id, Role.OWNER), (owner.pk, Role.ADMIN)):
        change_role(organization, actor=owner.username, authority=owner, user_id=pk, role=role)


@transaction.atomic
def remove_member(
    organization: Organization, *, actor: str, authority: Person | None, user_id: int
) -> Left:
    """End a membership; members may end their own. Returns the counts of what the member leaves.

    The member's tokens for this organization are revoked, so that they stay invalid if the member
    joins again. A service account is deleted with its membership.

    Raises Forbidden if the member's role is not below the actor's, Conflict for the last owner.
    """
    organization = Organization.objects.get_locked(organization.pk)
    own_role = role_of(authority, organization.pk) if authority else None
    member = _member(organization, user_id)
    if member.user.username != actor:
        check_authority(own_role, Role(member.role))
    elif authority is not None:
        require_account(authority)
    _check_another_owner(organization, member)
    member.delete()
    if member.user.is_service:
        service_accounts.close(member.user)
    ApiToken.objects.filter(user=user_id, organization=organization).delete()
    left = left_behind(organization.pk, user_id)
    reason = f"{member.user.username} is no longer a member."
    if left:
        reason = f"{reason} Left behind: {sentence(left)}."
    record(organization, "member_removed", actor, reason, {"user": user_id, "left": left})
    return left


@transaction.atomic
def delete(organization: Organization, *, actor: str) -> None:
    """Delete an organization and everything in it; only the log keeps a record of it.

    Raises Conflict while deployments are active.
    """
    # For deletion, so that a transaction that adds a row to the organization has to wait.
    row = Organization.objects.get_locked(organization.pk, for_deletion=True)
    deletion.prepare(row)
    service_accounts.close_all(row)
    row.delete()
    log.info("organization_deleted", organization=organization.pk, name=row.name, actor=actor)


def _bound(owner: User) -> Bound:
    return Bound(
        "MAX_ORGANIZATIONS_PER_USER",
        owner.pk,
        Membership.objects.filter(user=owner, role=Role.OWNER),
        lambda there, bound: (
            f"{owner.username} owns {there} organizations, and a user may create no more than"
            f" {bound}: delete one, or ask an operator of this service to add one."
        ),
    )


def protect_organizations(ids: Iterable[int]) -> None:
    """Prevent the deletion of these organizations until the caller's transaction ends.

    Call it before taking other locks. Raises NotFound if one of them no longer exists.
    """
    wanted = set(ids)
    if gone := wanted - Organization.objects.protect(wanted):
        raise NotFound(f"Organization {min(gone)} does not exist.", attr="organization")


def _check_person(user: User) -> None:
    if user.is_service:
        raise Conflict(
            f"{user.username} is a service account: it belongs to one organization, and owns none."
        )


def _steps_down(member: Membership, actor: str, role: Role) -> bool:
    return member.user.username == actor and role.rank < Role(member.role).rank


def _check_another_owner(organization: Organization, member: Membership) -> None:
    if member.role != Role.OWNER:
        return
    owners = organization.memberships.filter(role=Role.OWNER)
    if not owners.exclude(pk=member.pk).exists():
        raise Conflict(
            f"{member.user.username} is the last owner of {organization.name}: make another member"
            " an owner first, or delete the organization."
        )


def _member(organization: Organization, user_id: int) -> Membership:
    member = organization.memberships.select_related("user").filter(user=user_id).first()
    if member is None:
        raise NotFound(f"Organization {organization.pk} has no member with the id {user_id}.")
    return member
