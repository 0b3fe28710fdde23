"""Tokens: a log-in begins a family of refresh tokens, of which only the latest is valid.

Using a refresh token spends it. If a spent token is presented again, two parties have it, so the
whole family ends. See docs/decisions/0011.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import uuid4

import structlog
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.backends import may_sign_in_locally
from accounts.models import TokenFamily, User
from hypervisor.base import purging
from hypervisor.base.errors import Unauthorized

log = structlog.get_logger(__name__)

_FAMILY_CLAIM = "family"
_BAD_REFRESH = (
    "The refresh token is invalid, expired or already used, or its log-in has ended: log in again"
    " at /token."
)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, valid for `expires_in` seconds, and the refresh token for the next pair."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "bearer"  # noqa: S105


def log_in(request: HttpRequest, *, username: str, password: str) -> TokenPair:
    """Return tokens for the user. Raises Unauthorized if the username or password is wrong."""
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User) or user.is_service:
        raise Unauthorized("The username or password is wrong.")
    user_logged_in.send(sender=User, request=request, user=user)
    return _begin(user, timezone.now())


def refresh(refresh_token: str) -> TokenPair:
    """Exchange a refresh token for a new pair. Raises Unauthorized if it is not valid."""
    try:
        token = RefreshToken(refresh_token)  # type: ignore[arg-type]
    except TokenError as error:
        raise Unauthorized(_BAD_REFRESH) from error
    # Raised outside the transaction, because the end of the family must be committed.
    pair = _exchange(token, timezone.now())
    if pair is None:
        raise Unauthorized(_BAD_REFRESH)
    return pair


@transaction.atomic
def revoke(refresh_token: str) -> None:
    """End the family of a refresh token; an invalid token is ignored."""
    try:
        token = RefreshToken(refresh_token)  # type: ignore[arg-type]
    except TokenError:
        return
    if _FAMILY_CLAIM in token:
        TokenFamily.objects.filter(pk=token[_FAMILY_CLAIM]).delete()
    else:
        token.blacklist()


@transaction.atomic
def end(families: Iterable[TokenFamily]) -> None:
    """Log out: make the families' refresh tokens invalid."""
    TokenFamily.objects.filter(pk__in=[family.pk for family in families]).delete()


def purge(now: datetime) -> None:
    """Delete the families whose last refresh token has expired."""
    purging.purge(TokenFamily.objects.all(), "expires_at", now, order="expires_at")


@transaction.atomic
def _exchange(token: RefreshToken, now: datetime) -> TokenPair | None:
    user = User.objects.filter(pk=token[api_settings.USER_ID_CLAIM], is_active=True).first()
    if user is None or token.get(api_settings.REVOKE_TOKEN_CLAIM) != _mark(user):
        return None
    if not may_sign_in_locally(user):
        # Otherwise, a log-in that began with a password could go on for ever without one.
        return None
    if _FAMILY_CLAIM not in token:
        # Issued by an earlier release. Of two concurrent requests only one inserts the row.
        _row, first = cast("tuple[object, bool]", token.blacklist())
        return _begin(user, now) if first else None
    family = TokenFamily.objects.locked().filter(pk=token[_FAMILY_CLAIM]).first()
    if family is None:
        return None
    token_id = token[api_settings.JTI_CLAIM]
    if token_id == family.token_id:
        return _rotate(user, family, now)
    if token_id == family.spent_id and _is_retry(family, now):
        return _pair(user, family)
    log.warning("refresh_token_reused", user=user.username, logged_in_at=family.logged_in_at)
    family.delete()
    return None


def _is_retry(family: TokenFamily, now: datetime) -> bool:
    """Return whether a client may repeat a refresh whose response was lost."""
    grace = timedelta(seconds=settings.REFRESH_TOKEN_GRACE_SECONDS)
    # `now` is before `issued_at` for a caller who had to wait for the lock.
    return bool(grace) and now - family.issued_at < grace


def _begin(user: User, now: datetime) -> TokenPair:
    return _rotate(user, TokenFamily(user=user, logged_in_at=now), now)


def _rotate(user: User, family: TokenFamily, now: datetime) -> TokenPair:
    """Make a new refresh token the family's valid one."""
    family.spent_id, family.token_id = family.token_id, uuid4().hex
    family.issued_at, family.expires_at = now, now + api_settings.REFRESH_TOKEN_LIFETIME
    family.save()
    return _pair(user, family)


def _pair(user: User, family: TokenFamily) -> TokenPair:
    """Return the family's valid refresh token with a new access token."""
    token = RefreshToken()
    token[api_settings.USER_ID_CLAIM] = str(user.pk)
    token[api_settings.REVOKE_TOKEN_CLAIM] = _mark(user)
    token[api_settings.JTI_CLAIM] = family.token_id
    token[_FAMILY_CLAIM] = str(family.pk)
    token["exp"] = int(family.expires_at.timestamp())
    return TokenPair(
        access_token=str(token.access_token),
        refresh_token=str(token),
        expires_in=int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
    )


def _mark(user: User) -> str:
    """Return the claim that makes all tokens invalid once the password changes."""
    return str(get_md5_hash_password(user.password))
