from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.audit.triggers import trail
from hypervisor.base.names import NameField
from orgs.roles import Role
from orgs.tenancy import Person, TenantQuerySet, id_of, memberships_of
from orgs.tokens.grants import Grant, Scope, grant_of


class ApiTokenQuerySet(TenantQuerySet["ApiToken"]):
    def visible_to(self, user: Person) -> Self:
        """Return the person's own tokens, and those of the service accounts that the person
        administers.

        A caller with a token for one organization sees only tokens for that organization.
        """
        grant = grant_of(user)
        own = Q(user_id=id_of(user))
        if grant is not None and grant.organization is not None:
            own &= Q(organization=grant.organization)
        if Role.OWNER.within(grant).rank < Role.ADMIN.rank:
            return self.filter(own)
        administered = memberships_of(user).filter(role__in=[Role.ADMIN, Role.OWNER])
        accounts = Q(user__service_account__organization__in=administered.values("organization"))
        return self.filter(own | accounts)


class ApiToken(models.Model):
    """A token for programs. The token itself is not stored, only its SHA-256 `digest`.

    `start` has its first characters, by which people recognize it. With an `organization`, it is
    for this one only. `last_used_at` is up to a minute old.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    organization = models.ForeignKey(
        "orgs.Organization", on_delete=models.CASCADE, null=True, related_name="+"
    )
    name = NameField(max_length=100)
    scope = models.CharField(max_length=10, choices=Scope.choices)
    digest = models.CharField(max_length=64, editable=False)
    start = models.CharField(max_length=10, editable=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    last_used_at = models.DateTimeField(null=True)

    objects = ApiTokenQuerySet.as_manager()

    if TYPE_CHECKING:
        user_id: int
        organization_id: int | None

    class Meta:
        ordering = ["id"]
        verbose_name = "API token"
        permissions = [("revoke_apitoken", "Can revoke API tokens")]
        triggers = trail("user_id", "organization_id", "name", "scope", "expires_at")
        constraints = [
            # Not as an option of the field, which would add an index for `LIKE`.
            models.UniqueConstraint(fields=["digest"], name="api_token_digest_unique"),
            models.CheckConstraint(
                condition=models.Q(scope__in=Scope.values), name="api_token_scope_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.start}…)"

    @property
    def scopes(self) -> list[Scope]:
        """The scope and those that it includes."""
        return Scope(self.scope).included

    @property
    def service_account_id(self) -> int | None:
        """The service account that the token is for; None if it is for a person."""
        return self.user.service_account.pk if self.user.is_service else None

    @property
    def grant(self) -> Grant:
        return Grant(self.pk, Scope(self.scope), self.organization_id, self.expires_at)
