"""Find users by name in any case, preferring an exact match."""

from typing import TYPE_CHECKING

from django.contrib.auth.models import UserManager as BaseUserManager
from django.db.models import Value
from django.db.models.functions import Lower

from hypervisor.base.names import normalized

if TYPE_CHECKING:
    from accounts.models import User


class UserManager(BaseUserManager["User"]):
    """Finds users as they log in: by the exact name, or else by the name in any case."""

    use_in_migrations = False

    def get_by_natural_key(self, username: str | None) -> "User":
        if username is None or self.filter(username=username).exists():
            return self.get(username=username)
        return self.alias(key=Lower("username")).get(key=Lower(Value(normalized(username))))
