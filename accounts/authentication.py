"""Identify the caller by the token in the `Authorization` header."""

from functools import cache, lru_cache
from typing import Any

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import AuthUser, JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, Token
from rest_framework_simplejwt.utils import aware_utcnow, get_md5_hash_password

from accounts.models import User
from hypervisor.base.prepared import Prepared, ReadAhead, Together

Further = tuple[Prepared[Any], ...]
"""Queries that depend on the id of the caller alone."""

_users = Prepared(lambda user: User.objects.filter(pk=user))


@cache
def reading_user(further: Further) -> Together:
    """Return what reads the user with an id, and with the user these queries."""
    return Together(_users, *further, takes=(int,))


class BearerAuthentication(JWTAuthentication):
    """Accepts `bearer` and `BEARER` as `Bearer`: scheme names are case-insensitive (RFC 7235).

    A view's `read_with_caller` has the queries of each action that are sent to the database
    together with the one for the caller.
    """

    _further: Further = ()

    def authenticate(self, request: Request) -> tuple[AuthUser, Token] | None:
        view = request.parser_context.get("view")
        if further := getattr(view, "read_with_caller", None):
            self._further = further.get(getattr(view, "action", None), ())
        return super().authenticate(request)

    def get_raw_token(self, header: bytes) -> bytes | None:
        scheme, *rest = header.split() or [b""]
        if scheme.lower() == b"bearer":
            header = b" ".join([b"Bearer", *rest])
        return super().get_raw_token(header)

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Return the token. Raises InvalidToken if its signature is wrong or it has expired."""
        try:
            token = _verified(raw_token)
            token.check_exp(current_time=aware_utcnow())
        except TokenError as error:
            raise InvalidToken from error
        return token

    def get_user(self, validated_token: Token) -> User:  # type: ignore[override]
        """Return the token's user.

        Raises AuthenticationFailed if there is no such user, if the user is inactive, or if the
        password has changed since.
        """
        user_id = int(validated_token[api_settings.USER_ID_CLAIM])
        found, *further = reading_user(self._further)(user_id)
        user: User | None = found[0] if found else None
        if user is None or not user.is_active:
            raise AuthenticationFailed("User not found", code="user_not_found")
        password = get_md5_hash_password(user.password)
        if validated_token.get(api_settings.REVOKE_TOKEN_CLAIM) != password:
            raise AuthenticationFailed("The password has changed.", code="password_changed")
        user.read_ahead = ReadAhead(dict(zip(self._further, further, strict=True)))
        return user


@lru_cache(maxsize=1024)
def _verified(raw_token: bytes) -> AccessToken:
    """Return the token if its signature is right. A caller sends the same one again and again."""
    return AccessToken(raw_token)  # type: ignore[arg-type]


def caller(request: Request) -> User:
    """Return the caller of a view that requires a token."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user
