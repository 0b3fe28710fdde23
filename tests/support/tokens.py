"""Callers with an API token, which pass through the real authentication."""

from rest_framework.test import APIClient

from accounts.models import User
from orgs.models import ApiToken, Organization
from orgs.tokens import services
from orgs.tokens.grants import Scope


def token_of(
    user: User, scope: Scope = Scope.ADMIN, organization: Organization | None = None
) -> tuple[ApiToken, str]:
    return services.create(user, name=f"{scope} of {user}", scope=scope, organization=organization)


def bearer(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def client_with(
    user: User, scope: Scope = Scope.ADMIN, organization: Organization | None = None
) -> APIClient:
    """Return a client that calls with a new token of the user."""
    return bearer(token_of(user, scope, organization)[1])
