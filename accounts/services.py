"""Changes to users: adding them, updating them, setting their rights and passwords."""

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from accounts import access, mails
from accounts.models import User
from hypervisor.base.errors import Invalid

log = structlog.get_logger(__name__)


def create_user(*, username: str, email: str, password: str) -> User:
    """Add a user, whose password the caller has validated. Raises Invalid if the name is taken."""
    user = User(username=username, email=User.objects.normalize_email(email))
    user.set_password(password)
    add_user(user)
    if user.email:
        mails.ask_on_commit(mails.VERIFICATION, user.pk)
    return user


def add_user(user: User) -> User:
    """Add a user whose password is already set. Raises Invalid if the name is bad or taken."""
    try:
        User.username_validator(user.username)
    except ValidationError as error:
        raise Invalid(error.messages[0], attr="username") from error
    taken = Invalid("This username is taken: choose another one.", attr="username", code="unique")
    try:
        with transaction.atomic():
            # Checked first, because PostgreSQL logs a failed INSERT with the password's hash.
            _lock_name(user.username)
            if User.objects.filter(username__iexact=user.username).exists():
                raise taken
            user.save(force_insert=True)
    except IntegrityError as error:
        raise taken from error
    return user


@transaction.atomic
def add_service_user(username: str) -> User:
    """Add the user of a service account, which has no password, or reactivate it."""
    user = User.objects.filter(username=username).first()
    if user is not None:
        return update_user(user, {"is_active": True})
    user = User(username=username)
    user.set_unusable_password()
    user.save(force_insert=True)
    return user


def _lock_name(username: str) -> None:
    """Make other registrations of this name wait until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('accounts.username:' || lower(%s), 0))",
            [username],
        )


def mail_address_of(user: User) -> str:
    """Return the address to which mails for the user may go, empty if none is verified."""
    return user.email if user.is_active and user.email_verified_at else ""


@transaction.atomic
def update_user(user: User, values: Mapping[str, Any]) -> User:
    """Change these columns of a user; never the username, because the history refers to it.

    Another address is not verified, and ends the wait for the verification of a new one.
    """
    if "email" in values:
        values = {**values, "email_verified_at": None, "pending_email": ""}
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=list(values))
    if values.get("email"):
        mails.ask_on_commit(mails.VERIFICATION, user.pk)
    if not user.is_active:
        access.end(user)
    return user


@transaction.atomic
def set_rights(user: User, *, groups: Iterable[Group], permissions: Iterable[Permission]) -> None:
    """Set the user's groups and permissions in the admin."""
    user.groups.set(groups)
    user.user_permissions.set(permissions)


@transaction.atomic
def replace_password(user: User) -> User:
    """Store the password that was set on the user, which ends all access; see `passwords`."""
    user.save(update_fields=["password"])
    log.info("password_changed", user=user.username)
    mails.ask_on_commit(mails.PASSWORD_CHANGED, user.pk)
    return user
