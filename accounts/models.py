"""People, what they asked for with an idempotency key, and the trail of what they changed."""

import uuid
from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.db import models
from django.db.models.functions import Lower

from accounts.audit.triggers import trail
from accounts.usernames import UserManager
from hypervisor.base.locks import LockingQuerySet


class User(AbstractUser):
    """A person. New names are ASCII, so that no two of them look alike in other scripts."""

    username_validator: Any = ASCIIUsernameValidator()
    username = models.CharField(
        max_length=150,
        unique=True,
        help_text="Up to 150 unaccented letters, digits and @ . + - _",
        validators=[username_validator],
        error_messages={"unique": "A user with that username already exists."},
    )

    objects: ClassVar = UserManager()

    class Meta(AbstractUser.Meta):
        triggers = trail(
            "username", "first_name", "last_name", "email", "is_active", "is_staff", "is_superuser",
            secrets=("password",), called="username",
        )  # fmt: skip
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_unique_ignoring_case",
                violation_error_message="A user with that username already exists.",
            )
        ]


class TokenFamilyQuerySet(LockingQuerySet["TokenFamily"]):
    pass


class TokenFamily(models.Model):
    """A log-in to the API, and the refresh tokens that came of it; see `tokens`.

    `token_id` is the id of the one that is good, `spent_id` of the one before. The tokens
    themselves are not kept.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="token_families"
    )
    token_id = models.CharField(max_length=32)
    spent_id = models.CharField(max_length=32, blank=True, default="")
    logged_in_at = models.DateTimeField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    objects = TokenFamilyQuerySet.as_manager()

    class Meta:
        verbose_name = "API log-in"
        permissions: ClassVar = [("end_tokenfamily", "Can end log-ins to the API")]

    def __str__(self) -> str:
        return f"log-in of {self.user} at {self.logged_in_at:%Y-%m-%d %H:%M}"


class IdempotencyKey(models.Model):
    """The answer to a POST, kept so that the same request again gets it and does nothing.

    `fingerprint` is a digest of method, path, query and body. `status` is null, and `body` empty,
    only inside the transaction that works on the answer. `body` is JSON as text, so that the answer
    comes back letter by letter. `needed` holds pairs of an organization's id and a role: a replay
    is for a caller who has them still. It is null for what a former release kept.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="idempotency_keys"
    )
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(blank=True, default="")
    needed = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_unique")
        ]

    def __str__(self) -> str:
        return self.key


class AuditEntry(models.Model):
    """A change of columns that people set; written by triggers alone, see `audit`.

    `before` and `after` hold the columns that differ, of a row that comes or goes all that are
    watched; of a secret both hold only stars. `object_id` has no foreign key: the trail outlives
    what it tells of. `actor` is null for what was done by nobody who is logged in: by the product
    itself, at a registration, or in SQL. `via` is the request's path, or else the program's name.
    """

    class Operation(models.TextChoices):
        INSERT = "INSERT", "added"
        UPDATE = "UPDATE", "changed"
        DELETE = "DELETE", "deleted"

    time = models.DateTimeField(db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
    )
    model = models.CharField(max_length=100)
    object_id = models.BigIntegerField()
    name = models.TextField()
    operation = models.CharField(max_length=6, choices=Operation.choices)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    via = models.TextField()
    request_id = models.TextField()

    class Meta:
        ordering: ClassVar = ["-id"]
        verbose_name = "audit trail entry"
        verbose_name_plural = "audit trail"
        indexes: ClassVar = [
            models.Index(fields=["model", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
        ]
        triggers: ClassVar = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.object_id} {self.get_operation_display()}"


class UserGroup(User.groups.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers: ClassVar = trail("user_id", "group_id", called="")


class UserPermission(User.user_permissions.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers: ClassVar = trail("user_id", "permission_id", called="")


class GroupPermission(Group.permissions.through):  # type: ignore[misc, name-defined]
    class Meta:
        proxy = True
        default_permissions = ()
        triggers: ClassVar = trail("group_id", "permission_id", called="")
