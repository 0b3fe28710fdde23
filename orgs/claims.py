"""Memberships that a provider claims, brought up to date at each sign-in.

A claim is the name of a group: `hypervisor:ORGANIZATION:ROLE`, with the id of the organization or
its name. Only memberships that came from claims change: a member who was invited stays one.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.oidc.identities import user_of
from accounts.oidc.provider import Claims
from hypervisor.base.errors import Conflict
from orgs import services
from orgs.models import Membership, Organization, Role

log = structlog.get_logger(__name__)

ACTOR = "system:oidc"
PREFIX = "hypervisor:"


@transaction.atomic
def sign_in(claims: Claims, now: datetime) -> User:
    """Return the user whom the provider's claims are about, with the memberships that they claim.

    Raises Forbidden if the user is deactivated.
    """
    user = user_of(settings.OIDC_ISSUER.rstrip("/"), claims, now)
    groups = groups_in(claims)
    if groups is None:
        log.info("oidc_without_groups", user=user.username, claim=settings.OIDC_GROUPS_CLAIM)
    else:
        claimed = user.memberships.filter(from_claims=True)
        present = set(claimed.values_list("organization", flat=True))
        _bring_up_to_date(user, dict(_roles(groups, present)))
    return user


def groups_in(claims: Claims) -> list[str] | None:
    """Return the groups in the claim of the setting, None if there is no such claim.

    A dot leads into an object: `realm_access.roles`.
    """
    found: Any = claims.get(settings.OIDC_GROUPS_CLAIM)
    if found is None:
        found = claims
        for part in settings.OIDC_GROUPS_CLAIM.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, str):
        found = [found]
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else None


def _roles(groups: Iterable[str], present: Collection[int]) -> Iterator[tuple[int, Role]]:
    """Yield the organization and role of each group, the highest role of an organization last.

    `present` are the ids of the organizations of which groups have made the person a member.
    """
    named = []
    for group in groups:
        organization, _, role = group.removeprefix("/").removeprefix(PREFIX).rpartition(":")
        if not group.removeprefix("/").startswith(PREFIX):
            continue
        pk = _organization(organization, present)
        if pk is None or role not in Role.values:
            log.warning("oidc_group_unknown", group=group)
            continue
        named.append((pk, Role(role)))
    yield from sorted(named, key=lambda each: each[1].rank)


def _organization(name: str, present: Collection[int]) -> int | None:
    """Return the id of the organization with this id or name, None unless there is exactly one.

    Anybody may give another organization the same name. Then it still means the one of `present`,
    so that nobody loses a membership.
    """
    rows = Organization.objects.all()
    if name.isdecimal() and len(name) < 18:
        rows = rows.filter(pk=int(name))
    else:
        rows = rows.filter(name=name)
    found = list(rows.values_list("pk", flat=True)[:2])
    if len(found) > 1:
        found = list(rows.filter(pk__in=present).values_list("pk", flat=True)[:2])
    return found[0] if len(found) == 1 else None


def _bring_up_to_date(user: User, wanted: dict[int, Role]) -> None:
    present = {row.organization_id: row for row in user.memberships.all()}
    claimed = {pk for pk, row in present.items() if row.from_claims}
    for pk in sorted(claimed | set(wanted)):
        try:
            with transaction.atomic():
                _change(user, pk, present.get(pk), wanted.get(pk))
        except Conflict as error:
            # The last owner stays one.
            log.warning("oidc_membership_kept", user=user.username, reason=error.detail)


def _change(user: User, pk: int, member: Membership | None, role: Role | None) -> None:
    organization = Organization.objects.get_locked(pk)
    if member is None and role is not None:
        row = services.add_member(organization, actor=ACTOR, user=user, role=role)
        Membership.objects.filter(pk=row.pk).update(from_claims=True)
    elif member is None or not member.from_claims:
        return
    elif role is None:
        services.remove_member(organization, actor=ACTOR, authority=None, user_id=user.pk)
    else:
        services.change_role(organization, actor=ACTOR, authority=None, user_id=user.pk, role=role)
