"""The user of a provider's subject.

A subject is found by issuer and subject alone. At its first sign-in it gets the user with the same
address, if both sides have verified it and the user is no operator, else a user of its own.
"""

import re
from datetime import datetime

import structlog
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import services
from accounts.models import ProviderIdentity, User
from accounts.oidc.provider import Claims
from hypervisor.base.errors import Forbidden
from hypervisor.base.locks import lock_name

log = structlog.get_logger(__name__)

_LONGEST_NAME = 140
_ALL_BUT_EMAIL = frozenset(field.name for field in User._meta.fields) - {"email"}


@transaction.atomic
def user_of(issuer: str, claims: Claims, now: datetime) -> User:
    """Return the user of the subject, who is added at the first sign-in.

    Raises Forbidden if the user is deactivated.
    """
    lock_name(f"accounts.identity:{issuer}:{claims['sub']}")
    identity = (
        ProviderIdentity.objects.select_related("user")
        .filter(issuer=issuer, subject=claims["sub"])
        .first()
    )
    if identity is None:
        identity = _link(issuer, claims, now)
    if not identity.user.is_active:
        raise Forbidden(
            f"The user {identity.user.username} is deactivated: ask an operator of this service.",
            code="deactivated",
        )
    ProviderIdentity.objects.filter(pk=identity.pk).update(used_at=now)
    return identity.user


def _link(issuer: str, claims: Claims, now: datetime) -> ProviderIdentity:
    address = _address(claims)
    is_verified = bool(address) and claims.get("email_verified") is True
    user = User.objects.with_address(address) if is_verified else None
    if user is not None and (user.is_staff or user.is_superuser):
        user, is_verified = None, False
    if user is None:
        user = User(username=_free_name(claims), email=address)
        user.email_verified_at = now if is_verified else None
        user.set_unusable_password()
        services.add_user(user)
    log.info("oidc_linked", user=user.username, issuer=issuer)
    return ProviderIdentity.objects.create(
        issuer=issuer, subject=claims["sub"], user=user, linked_at=now, used_at=now
    )


def _address(claims: Claims) -> str:
    """Return the address in the claims, empty if there is none to which a mail can be sent."""
    address = User.objects.normalize_email(str(claims.get("email") or ""))
    try:
        User(email=address).clean_fields(exclude=_ALL_BUT_EMAIL)
    except ValidationError:
        log.warning("oidc_address_not_valid")
        return ""
    return address


def _free_name(claims: Claims) -> str:
    """Return a username that is valid and free, like the one that the provider prefers."""
    wanted = str(claims.get("preferred_username") or claims.get("email") or "user")
    name = re.sub(r"[^A-Za-z0-9@.+_-]+", "-", wanted).strip("-")[:_LONGEST_NAME] or "user"
    lock_name("accounts.free_name")
    taken = set(User.objects.filter(username__istartswith=name).values_list("username", flat=True))
    lowered = {each.lower() for each in taken}
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(lowered) + 3)))
    return next(each for each in candidates if each.lower() not in lowered)
