"""What happens to people: they register; tokens are issued, spent and revoked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth import authenticate
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_in
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.errors import Invalid, Unauthorized
from accounts.models import User

_BAD_REFRESH_TOKEN = "The refresh token is bad, expired or spent: log in again at /token."  # noqa: S105


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access token, which lives `expires_in` seconds, and the refresh token for the next."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "bearer"  # noqa: S105


def create_user(*, username: str, email: str, password: str) -> User:
    """Add a person. Raises Invalid when the name is taken; the password must be a checked one."""
    user = User(username=username, email=User.objects.normalize_email(email))
    user.set_password(password)
    return add_user(user)


def add_user(user: User) -> User:
    """Add a person whose password is set already. Raises Invalid when the name is taken."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise Invalid(
            "Somebody has that username already: choose another.", attr="username", code="unique"
        ) from error
    return user


def update_user(user: User, values: Mapping[str, Any]) -> User:
    """Change these columns of a person; not the username, by which the history names them."""
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=list(values))
    return user


@transaction.atomic
def set_rights(user: User, *, groups: Iterable[Group], permissions: Iterable[Permission]) -> None:
    """Say what a person may do in the admin."""
    user.groups.set(groups)
    user.user_permissions.set(permissions)


def replace_password(user: User) -> User:
    """Keep the password that was set on the user: every log-in with the old one ends."""
    user.save(update_fields=["password"])
    return user


def log_in(request: HttpRequest, *, username: str, password: str) -> TokenPair:
    """Return tokens for the right password. Raises Unauthorized for a wrong one."""
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise Unauthorized("Username or password is wrong.")
    user_logged_in.send(sender=User, request=request, user=user)
    return _issue(user)


@transaction.atomic
def refresh(refresh_token: str) -> TokenPair:
    """Exchange a refresh token for a new pair. Raises Unauthorized when it is bad or spent."""
    try:
        token = RefreshToken(refresh_token)  # type: ignore[arg-type]
    except TokenError as error:
        raise Unauthorized(_BAD_REFRESH_TOKEN) from error
    user = User.objects.filter(pk=token[api_settings.USER_ID_CLAIM], is_active=True).first()
    # Of two who come with the same token at once, one gets the row.
    _row, first = cast("tuple[object, bool]", token.blacklist())
    if user is None or not first or not _of_present_password(token, user):
        raise Unauthorized(_BAD_REFRESH_TOKEN)
    return _issue(user)


def revoke(refresh_token: str) -> None:
    """Spend a refresh token; one that is no good already needs nothing done."""
    try:
        RefreshToken(refresh_token).blacklist()  # type: ignore[arg-type]
    except TokenError:
        return


def _issue(user: User) -> TokenPair:
    token = RefreshToken.for_user(user)
    return TokenPair(
        access_token=str(token.access_token),
        refresh_token=str(token),
        expires_in=int(api_settings.ACCESS_TOKEN_LIFETIME.total_seconds()),
    )


def _of_present_password(token: RefreshToken, user: User) -> bool:
    claimed = token.get(api_settings.REVOKE_TOKEN_CLAIM)
    return bool(claimed == get_md5_hash_password(user.password))
