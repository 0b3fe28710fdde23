"""The names of users: how they are found, and how those of programs differ."""

import re
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import UserManager as BaseUserManager
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import ValidationError
from django.db.models import Value
from django.db.models.functions import Lower
from django.utils.deconstruct import deconstructible

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


# With the path of Django's validator, the migrations stay as they are.
@deconstructible(path="django.contrib.auth.validators.ASCIIUsernameValidator")
class UsernameValidator(ASCIIUsernameValidator):
    """Django's rule for new names; its error names what is wrong, because forms show the rule."""

    def __call__(self, value: Any) -> None:
        try:
            super().__call__(value)
        except ValidationError as error:
            wrong = next((char for char in str(value) if not self._allows(char)), "")
            what = "a blank" if wrong.isspace() else wrong
            raise ValidationError(
                f"A username cannot contain {what}: leave it out.", code=error.code
            ) from error

    def _allows(self, char: str) -> bool:
        return re.fullmatch(self.regex, char) is not None


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
