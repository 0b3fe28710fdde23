"""Webhooks, and the rows of the messages that were not delivered at the first attempt.

The feed is the outbox: an event is in it if the transaction of the event has committed. A webhook
has the number up to which it is done with the feed, so that an event costs no row for each webhook.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.audit.triggers import trail
from orgs.tenancy import TenantQuerySet


class Webhook(models.Model):
    """An address that gets the events of an organization: those of some kinds, or all.

    `secret` is encrypted, and so are the former ones: `former_secret`, which also signs until
    `former_until`, and those of `older_secrets` before it, each with its own time in a pair.
    Every event up to the number `position` was delivered, is not wanted, or has a row in Delivery.
    No attempt is made before `paused_until`, because there were `failures` since the last success,
    the first of them at `failing_since`. The sender with the `lease` sends, until `leased_until`.
    """

    organization = models.ForeignKey(
        "orgs.Organization", on_delete=models.CASCADE, related_name="webhooks"
    )
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=200, blank=True, default="")
    kinds = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    secret = models.TextField()
    former_secret = models.TextField(blank=True, default="")
    former_until = models.DateTimeField(null=True)
    older_secrets = models.JSONField(default=list, db_default=[], blank=True)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True, default="")
    position = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(default=timezone.now)
    delivered_at = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = TenantQuerySet["Webhook"].as_manager()

    if TYPE_CHECKING:
        organization_id: int

    class Meta:
        ordering = ["id"]
        permissions = [("replay_webhook", "Can replay deliveries of webhooks")]
        triggers = trail(
            "organization_id", "url", "description", "kinds", "enabled",
            secrets=("secret",), called="url",
        )  # fmt: skip

    def __str__(self) -> str:
        return self.url

    def former_secrets(self, now: datetime) -> list[tuple[str, datetime]]:
        """Return the former secrets that still sign, each with its time; the last one comes first.

        They are encrypted.
        """
        return [(secret, until) for secret, until in self._former() if now < until]

    @property
    def former_secrets_until(self) -> datetime | None:
        """Until when a former secret also signs; None if none was kept at the last rotation."""
        return max((until for _secret, until in self._former()), default=None)

    def _former(self) -> list[tuple[str, datetime]]:
        if self.former_until is None:
            return []
        older = [(secret, datetime.fromisoformat(until)) for secret, until in self.older_secrets]
        return [(self.former_secret, self.former_until), *older]


class DeliveryQuerySet(TenantQuerySet["Delivery"]):
    organization_path = "webhook__organization_id"

    def due(self) -> Self:
        """Return those with an attempt to come, the next one first."""
        return self.filter(status=Delivery.Status.SCHEDULED).order_by("next_attempt_at", "number")


class Delivery(models.Model):
    """A message that was not delivered at the first attempt, was replayed, or is a test.

    `number` is the event's number in the organization; a test has none. `error` says why the last
    attempt failed, which got `response_status` if it got a response.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        DELIVERED = "delivered"
        FAILED = "failed"

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    number = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=30)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.SCHEDULED)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    attempted_at = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    objects = DeliveryQuerySet.as_manager()

    if TYPE_CHECKING:
        webhook_id: int

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["webhook", "number"], name="delivery_number_unique"),
            models.CheckConstraint(
                condition=Q(status="scheduled", next_attempt_at__isnull=False)
                | (~Q(status="scheduled") & Q(next_attempt_at__isnull=True)),
                name="delivery_attempt_scheduled",
            ),
        ]
        indexes = [
            models.Index(
                fields=["webhook", "next_attempt_at"],
                name="delivery_due",
                condition=Q(status="scheduled"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number or ''}".strip()


class AttemptCount(models.Model):
    """How many attempts of an organization's webhooks had this outcome; it only grows."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered"
        FAILED = "failed"

    organization = models.ForeignKey(
        "orgs.Organization",
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        # A sender that counts has locked a webhook, but a deletion locks the organization first.
        db_constraint=False,
    )
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    value = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "outcome"], name="webhook_attempts_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.value} attempts of organization {self.organization_id}: {self.outcome}"
