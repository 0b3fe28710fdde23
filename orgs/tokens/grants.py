"""What an API token allows of what its user may do.

A caller with a token carries its grant as an attribute of the user, which the authentication sets.
Everything that asks what a person sees or may do reads it with `grant_of`. A person without a grant
has logged in, and may do everything that the roles allow.
"""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models

from hypervisor.base.errors import Forbidden

Person = AbstractBaseUser | AnonymousUser

_ATTRIBUTE = "_grant"


class Scope(models.TextChoices):
    """What a token is for. Each scope includes those before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return list(Scope).index(self)

    @property
    def included(self) -> list["Scope"]:
        return list(Scope)[: self.rank + 1]


@dataclass(frozen=True, slots=True)
class Grant:
    """The limits of one token; `organization` is an id, or None for all that the user is in."""

    token: int
    scope: Scope
    organization: int | None
    expires_at: datetime

    @property
    def covers_account(self) -> bool:
        """Whether the token may do what concerns the user rather than an organization."""
        return self.scope is Scope.ADMIN and self.organization is None


def limit(user: AbstractBaseUser, grant: Grant) -> None:
    """Limit this object of the user, which is the caller of the present request, to the grant."""
    setattr(user, _ATTRIBUTE, grant)


def grant_of(user: Person) -> Grant | None:
    """Return the limits of the caller's token, None if the caller has logged in."""
    grant: Grant | None = getattr(user, _ATTRIBUTE, None)
    return grant


def require_scope(user: Person, least: Scope) -> None:
    """Raise Forbidden if the caller's token has a lower scope."""
    grant = grant_of(user)
    if grant is not None and grant.scope.rank < least.rank:
        raise Forbidden(
            f"This needs a token with the scope {least}; yours has the scope {grant.scope}. Use"
            " another token, or log in.",
            code="token_scope",
        )


def require_account(user: Person) -> None:
    """Raise Forbidden unless the caller has logged in or has a token without limits."""
    grant = grant_of(user)
    if grant is not None and not grant.covers_account:
        raise Forbidden(
            "This concerns your account: log in, or use a token with the scope admin that is not"
            " for one organization only.",
            code="token_scope",
        )


def require_log_in(user: Person) -> None:
    """Raise Forbidden if the caller uses an API token: one that leaked must not end an account."""
    if grant_of(user) is not None:
        raise Forbidden(
            "No API token may do this: log in at /token, and use the access token that you get.",
            code="token_scope",
        )
