"""Users, sessions and log-ins, responses stored for idempotency keys, and the audit trail."""

import uuid
from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.auth.models import AbstractUser, Group
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models.functions import Lower

from accounts.audit.triggers import trail
from accounts.usernames import UserManager, UsernameValidator, is_service
from hypervisor.base.locks import LockingQuerySet
from hypervisor.base.prepared import ReadAhead


class User(AbstractUser):
    """A user. New usernames are ASCII, because letters of other scripts can look the same.

    `email` counts only once it is verified: `email_verified_at` is null until then.
    """

    username_validator: Any = UsernameValidator()
    username = models.CharField(
        max_length=150,
        unique=True,
        help_text="Up to 150 unaccented letters, digits and @ . + - _",
        validators=[username_validator],
        error_messages={"unique": "A user with that username already exists."},
    )

    email_verified_at = models.DateTimeField("e-mail verified", null=True, blank=True)
    pending_email = models.EmailField(blank=True, default="", db_default="")
    """A new address, which replaces the present one once it is verified; see `addresses`."""

    objects: ClassVar = UserManager()

    read_ahead = ReadAhead({})
    """What was read together with the user, as the caller of a request; see `authentication`."""

    class Meta(AbstractUser.Meta):
        triggers = trail(
            "username", "first_name", "last_name", "email", "email_verified_at", "is_active",
            "is_staff", "is_superuser", secrets=("password",), called="username",
        )  # fmt: skip
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_unique_ignoring_case",
                violation_error_message="A user with that username already exists.",
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=models.Q(email_verified_at__isnull=False),
                name="verified_email_unique_ignoring_case",
                violation_error_message="This address belongs to another user.",
            ),
        ]

    @property
    def is_service(self) -> bool:
        """Whether this is the user of a service account: a program, which cannot log in."""
        return is_service(self.username)


class TokenFamilyQuerySet(LockingQuerySet["TokenFamily"]):
    pass


class TokenFamily(models.Model):
    """A log-in to the API and the refresh tokens issued from it; see `tokens`.

    `token_id` is the id of the valid refresh token, `spent_id` that of the one before. The tokens
    themselves are not stored.
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


class BrowserSession(AbstractBaseSession):
    """A session of a browser; see `sessions`.

    `session_key` is a digest. `expire_date` moves with each use, within the longest lifetime.
    `address` and `browser` are those of a recent request.
    """

    session_key = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="browser_sessions",
    )
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    address = models.GenericIPAddressField(null=True)
    browser = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        verbose_name = "session"
        default_permissions = ()

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions.engine import SessionStore

        return SessionStore

    def __str__(self) -> str:
        return f"session of {self.user} since {self.created_at:%Y-%m-%d %H:%M}"


class ProviderIdentity(models.Model):
    """The user of a subject of an OpenID Connect provider; see `oidc`."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identities"
    )
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    linked_at = models.DateTimeField()
    used_at = models.DateTimeField()

    class Meta:
        verbose_name = "identity"
        verbose_name_plural = "identities"
        triggers = trail("user_id", "issuer", "subject", called="subject")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="identity_unique")
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class IdempotencyKey(models.Model):
    """The response to a POST, stored so that a repeated request gets it and changes nothing.

    `fingerprint` is a digest of method, path, query and body. `status` is null, and `body` empty,
    only inside the transaction that produces the response. `body` is JSON text, so that a replay is
    identical to the letter. `needed` holds pairs of an organization's id and a role: only a caller
    who still has them gets a replay. It is null for responses that an earlier release stored.
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
    """A change of columns that people set, written only by triggers; see `audit`.

    `before` and `after` hold the columns that differ; for an inserted or deleted row, all watched
    columns. Secrets appear as stars in both. `object_id` has no foreign key, because the trail
    outlives the row. `actor` is null for changes without a logged-in user: by the product itself,
    by a registration, or in SQL. `via` is the request's path, or else the program's name. `note` is
    what the actor gave as the reason.
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
        db_index=False,
    )
    model = models.CharField(max_length=100)
    object_id = models.BigIntegerField()
    name = models.TextField()
    operation = models.CharField(max_length=6, choices=Operation.choices)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    via = models.TextField()
    request_id = models.TextField()
    note = models.TextField(blank=True, default="", db_default="")

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
