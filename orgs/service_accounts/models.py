from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Subquery

from accounts.audit.triggers import trail
from orgs.tenancy import TenantQuerySet


class ServiceAccountQuerySet(TenantQuerySet["ServiceAccount"]):
    def with_role(self) -> Self:
        """Annotate each account with its `role`."""
        members = self.model._meta.apps.get_model("orgs", "Membership").objects.filter(
            organization=OuterRef("organization"), user=OuterRef("user")
        )
        return self.annotate(role=Subquery(members.values("role")))


class ServiceAccount(models.Model):
    """A program that is a member of one organization.

    Its `user` has no password, and a name that no person can have. When the account is deleted, the
    user stays, deactivated, because the history contains its name.
    """

    organization = models.ForeignKey(
        "orgs.Organization", on_delete=models.CASCADE, related_name="service_accounts",
        db_index=False,
    )  # fmt: skip
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="service_account"
    )
    name = models.CharField(max_length=100)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ServiceAccountQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int
        user_id: int
        # Annotated by with_role().
        role: str

    class Meta:
        ordering = ["id"]
        verbose_name = "service account"
        triggers = trail("organization_id", "user_id", "name")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="service_account_name_unique"
            )
        ]

    def __str__(self) -> str:
        return self.name
