"""The roles of members, and what an API token leaves of them."""

from django.db import models

from orgs.tokens.grants import Grant, Scope


class Role(models.TextChoices):
    """A member's role; `permissions` has the table of what each role may do."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def within(self, grant: Grant | None) -> "Role":
        """Return the role that the caller's token leaves of this one; all of it after a log-in."""
        return self if grant is None else min(self, _HIGHEST[grant.scope], key=lambda r: r.rank)

    @property
    def scope(self) -> Scope:
        """The lowest scope that leaves a member this role."""
        return next(scope for scope in Scope if _HIGHEST[scope].rank >= self.rank)


_HIGHEST = {Scope.READ: Role.VIEWER, Scope.SUBMIT: Role.DEVELOPER, Scope.ADMIN: Role.OWNER}
