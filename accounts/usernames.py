"""The names of users: how they are found, and how those of programs differ."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import UserManager as BaseUserManager
from django.db.models import Value
from django.db.models.functions import Lower

from hypervisor.base.names import normalized

if TYPE_CHECKING:
    from accounts.models import User


_SERVICE = "service:"
"""The beginning of a service account's username; no person's name may contain a colon."""


def service_name(name: str, organization_id: int) -> str:
    """Return the username of a service account of an organization."""
    return f"{_SERVICE}{name}@{organization_id}"


def is_service(username: str) -> bool:
    """Return whether this is the name of a service account."""
    return username.startswith(_SERVICE)


class UserManager(BaseUserManager["User"]):
    """Finds users as they log in: by a verified address, by the exact name, or else by the name in
    any case.

    An address comes first, so that nobody can take another one's address as a username.
    """

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> "User":
        if username is not None and "@" in username:
            user = self.with_address(username)
            if user is not None:
                return user
        if username is None or self.filter(username=username).exists():
            return self.get(username=username)
        return self.alias(key=Lower("username")).get(key=Lower(Value(normalized(username))))

    def with_address(self, address: str) -> "User | None":
        """Return the user to whom this verified address belongs, None if there is none."""
        key = Lower(Value(normalized(address)))
        users = self.alias(key=Lower("email")).filter(key=key, email_verified_at__isnull=False)
        return users.first()
