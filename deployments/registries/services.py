"""Changes to registries: one verb per function, each atomic and with one event."""

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils import timezone

from clusters.drivers.base import RegistryLogin
from deployments.images import registry_of
from deployments.registries.models import Registry
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import encrypt, rotate
from orgs.events import record
from orgs.models import Organization
from orgs.services import protect_organizations

MOST = 100
"""How many registries an organization may have."""


@transaction.atomic
def add(
    *, actor: str, organization: Organization, host: str, username: str, password: str
) -> Registry:
    """Store a log-in to a registry.

    Raises Invalid if the organization has one to this host, Conflict if it has too many.
    """
    protect_organizations([organization.pk])
    if organization.registries.count() >= MOST:
        raise Conflict(
            f"Organization {organization.name} has {MOST} registries, and an organization may have"
            " no more: delete one.",
            code="limit_reached",
        )
    try:
        with transaction.atomic():
            registry = Registry.objects.create(
                organization=organization,
                host=host,
                username=username,
                password=encrypt(password).decode(),
            )
    except IntegrityError as error:
        if "registry_host_unique" not in str(error):
            raise
        raise Invalid(
            f"The organization already has a log-in to {host}: change that one.",
            attr="host",
            code="unique",
        ) from error
    _record(registry, "registry_added", actor, f"Logs in to {host} as {username}.")
    return registry


@transaction.atomic
def update(registry: Registry, *, actor: str, username: str, password: str | None) -> Registry:
    """Change the user, and the password unless it is None."""
    registry = Registry.objects.get_locked(registry.pk)
    if password is None and username == registry.username:
        return registry
    registry.username = username
    if password is not None:
        registry.password = encrypt(password).decode()
    registry.updated_at = timezone.now()
    registry.save(update_fields=["username", "password", "updated_at"])
    _record(registry, "registry_updated", actor, f"Logs in to {registry.host} as {username}.")
    return registry


@transaction.atomic
def delete(registry: Registry, *, actor: str) -> None:
    """Delete the log-in. Images that engines have already pulled are not affected."""
    registry = Registry.objects.get_locked(registry.pk)
    _record(registry, "registry_deleted", actor, f"Does not log in to {registry.host} any more.")
    registry.delete()


def by_host(organization_id: int) -> dict[str, Registry]:
    """Return the organization's registries by their hosts."""
    return {row.host: row for row in Registry.objects.filter(organization=organization_id)}


def login_for(registries: Mapping[str, Registry], image: str) -> RegistryLogin | None:
    """Return the log-in to the image's registry, None if there is none.

    Raises CannotDecrypt.
    """
    found = registries.get(registry_of(image))
    return found.open_login() if found else None


@transaction.atomic
def rotate_passwords() -> int:
    """Encrypt all passwords with the first of CREDENTIALS_KEYS; return their number.

    Raises CannotDecrypt if the key of one is missing; then nothing has changed.
    """
    count = 0
    for registry in Registry.objects.locked():
        registry.password = rotate(registry.password).decode()
        registry.save(update_fields=["password"])
        count += 1
    return count


def _record(registry: Registry, kind: str, actor: str, reason: str) -> None:
    data = {"registry": registry.pk, "host": registry.host, "username": registry.username}
    record(registry.organization, kind, actor, reason, data)
