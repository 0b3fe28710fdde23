from typing import TYPE_CHECKING

from django.db import models
from django.utils import timezone

from accounts.audit.triggers import trail
from clusters.drivers.base import RegistryLogin
from hypervisor.base.secrets import decrypt
from orgs.models import Organization
from orgs.tenancy import TenantQuerySet


class RegistryQuerySet(TenantQuerySet["Registry"]):
    pass


class Registry(models.Model):
    """A log-in to a registry; `host` is in the form that `images.registry_of` returns.

    `password` is encrypted.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="registries"
    )
    host = models.CharField(max_length=255)
    username = models.CharField(max_length=255)
    password = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = RegistryQuerySet.as_manager()

    if TYPE_CHECKING:
        organization_id: int

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "registries"
        triggers = trail(
            "organization_id", "host", "username", secrets=("password",), called="host"
        )
        constraints = [
            models.UniqueConstraint(fields=["organization", "host"], name="registry_host_unique")
        ]

    def __str__(self) -> str:
        return self.host

    def open_login(self) -> RegistryLogin:
        """Return the decrypted log-in; only for a driver. Raises CannotDecrypt."""
        return RegistryLogin(self.host, self.username, decrypt(self.password))
