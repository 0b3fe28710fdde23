"""Identify the caller by an API token or by the access token of a log-in."""

from typing import Any

from django.utils import timezone
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken
from structlog.contextvars import bind_contextvars

from accounts.authentication import BearerAuthentication
from accounts.models import User
from orgs.models import ApiToken
from orgs.tokens import services
from orgs.tokens.grants import limit

_PREFIX = services.PREFIX.encode()


class TokenAuthentication(BearerAuthentication):
    """Accepts either kind of token as `Bearer`, and limits a caller with an API token to it."""

    def get_validated_token(self, raw_token: bytes) -> Any:
        """Return the token. Raises InvalidToken if it is wrong, revoked or expired."""
        if not raw_token.startswith(_PREFIX):
            return super().get_validated_token(raw_token)
        text = raw_token.decode("latin-1")
        token = services.find(text, timezone.now(), further=self._further)
        if token is None:
            raise InvalidToken
        return token

    def get_user(self, validated_token: Any) -> User:  # type: ignore[override]
        """Return the token's user. Raises AuthenticationFailed if the user is inactive."""
        if not isinstance(validated_token, ApiToken):
            return super().get_user(validated_token)
        user = validated_token.user
        if not user.is_active:
            raise AuthenticationFailed("User not found", code="user_not_found")
        limit(user, validated_token.grant)
        services.record_use(validated_token, timezone.now())
        bind_contextvars(token=validated_token.pk)
        return user
