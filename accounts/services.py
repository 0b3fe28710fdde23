"""What happens to people: they register, change, and are given rights."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from accounts.models import User
from hypervisor.base.errors import Invalid


def create_user(*, username: str, email: str, password: str) -> User:
    """Add a person. Raises Invalid when the name is taken; the password must be a checked one."""
    user = User(username=username, email=User.objects.normalize_email(email))
    user.set_password(password)
    return add_user(user)


def add_user(user: User) -> User:
    """Add a person whose password is set already. Raises Invalid for a bad name or a taken one."""
    try:
        User.username_validator(user.username)
    except ValidationError as error:
        raise Invalid(error.messages[0], attr="username") from error
    taken = Invalid(
        "Somebody has that username already: choose another.", attr="username", code="unique"
    )
    try:
        with transaction.atomic():
            # An INSERT that fails would leave its text, with the password's hash, in a log.
            _lock_name(user.username)
            if User.objects.filter(username__iexact=user.username).exists():
                raise taken
            user.save(force_insert=True)
    except IntegrityError as error:
        raise taken from error
    return user


def _lock_name(username: str) -> None:
    """Have whoever else registers this name wait until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('accounts.username:' || lower(%s), 0))",
            [username],
        )


@transaction.atomic
def update_user(user: User, values: Mapping[str, Any]) -> User:
    """Change these columns of a person; not the username, by which the history names them."""
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=list(values))
    if not user.is_active:
        user.token_families.all().delete()
    return user


@transaction.atomic
def set_rights(user: User, *, groups: Iterable[Group], permissions: Iterable[Permission]) -> None:
    """Say what a person may do in the admin."""
    user.groups.set(groups)
    user.user_permissions.set(permissions)


@transaction.atomic
def replace_password(user: User) -> User:
    """Keep the password that was set on the user: every log-in with the old one ends."""
    user.save(update_fields=["password"])
    user.token_families.all().delete()
    return user
