"""Identify the caller by the token in the `Authorization` header."""

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from accounts.models import User


class BearerAuthentication(JWTAuthentication):
    """Accepts `bearer` and `BEARER` as `Bearer`: scheme names are case-insensitive (RFC 7235)."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        scheme, *rest = header.split() or [b""]
        if scheme.lower() == b"bearer":
            header = b" ".join([b"Bearer", *rest])
        return super().get_raw_token(header)


def caller(request: Request) -> User:
    """Return the caller of a view that requires a token."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user
