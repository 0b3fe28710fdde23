"""The end of an account: everything personal is deleted, the name stays.

Users are deactivated rather than deleted, because the history contains their names; nobody else
gets the name.
"""

from collections.abc import Callable

import structlog
from axes.utils import reset as forget_failures
from django.db import transaction

from accounts import services
from accounts.models import User
from hypervisor.base.errors import Conflict
from hypervisor.base.locks import lock_name, locked

log = structlog.get_logger(__name__)

Leave = Callable[[User], object]

_leaves: list[Leave] = []


def register(leave: Leave) -> None:
    """Register what a user leaves or loses with the account; it may refuse with a domain error."""
    _leaves.append(leave)


@transaction.atomic
def close(user: User) -> None:
    """End the account of a person, all access and all memberships.

    What the person has submitted belongs to the organizations, and stays. Raises Conflict for the
    last owner of an organization and the last operator with all rights.
    """
    user = locked(User.objects.all(), for_deletion=True).get(pk=user.pk)
    _check_another_superuser(user)
    for leave in _leaves:
        leave(user)
    user.set_unusable_password()
    services.replace_password(user)
    services.set_rights(user, groups=(), permissions=())
    nothing = {"email": "", "first_name": "", "last_name": ""}
    rights = dict.fromkeys(("is_active", "is_staff", "is_superuser"), False)
    services.update_user(user, {**nothing, **rights, "last_login": None})
    user.idempotency_keys.all().delete()
    user.identities.all().delete()
    forget_failures(username=user.username.lower())
    log.info("account_closed", user=user.username)


def _check_another_superuser(user: User) -> None:
    if not user.is_superuser:
        return
    # Otherwise, the last two who leave at once would each count on the other.
    lock_name("accounts.superusers")
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    if not others.exists():
        raise Conflict(
            "You are the last operator with all rights: make another user a superuser first.",
            code="last_superuser",
        )
