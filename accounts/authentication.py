"""Who is calling, by the token in the `Authorization` header."""

from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from accounts.models import User


class BearerAuthentication(JWTAuthentication):
    """Reads `bearer` and `BEARER` as `Bearer`: the name of a scheme has no case (RFC 7235)."""

    def get_raw_token(self, header: bytes) -> bytes | None:
        scheme, *rest = header.split() or [b""]
        if scheme.lower() == b"bearer":
            header = b" ".join([b"Bearer", *rest])
        return super().get_raw_token(header)


def caller(request: Request) -> User:
    """Return the user who calls a view that refuses calls without a token."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user
