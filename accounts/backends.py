"""Who may sign in with a password."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import HttpRequest

from accounts.models import User


def may_sign_in_locally(user: User) -> bool:
    """Return whether `LOCAL_SIGN_IN` lets the user sign in with a password."""
    return settings.LOCAL_SIGN_IN == "on" or user.is_superuser


class LocalSignIn(BaseBackend):
    """Stands before the backend that checks passwords, and refuses the others."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **credentials: Any
    ) -> None:
        if settings.LOCAL_SIGN_IN == "on":
            return
        try:
            user = User.objects.get_by_natural_key(username)
        except ObjectDoesNotExist:
            return
        if not may_sign_in_locally(user):
            # It takes as long as for a name that nobody has, which the next backend refuses.
            make_password(credentials.get("password"))
            raise PermissionDenied
