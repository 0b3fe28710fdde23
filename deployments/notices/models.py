"""Rules, recipients, the notices that wait for them, and the messages that were sent.

A fact becomes one notice for each recipient, in the transaction that advances the position in the
feed. A message gathers notices; it is what a person sees.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.audit.triggers import trail
from deployments.notices.kinds import DEFAULT_WAIT_MINUTES, Channel, Kind, Scope
from hypervisor.base.locks import LockingQuerySet
from orgs.models import Organization
from orgs.permissions import administered_by
from orgs.tenancy import Person, TenantQuerySet, id_of, memberships_of
from orgs.tokens.grants import grant_of


class NoticeRuleQuerySet(TenantQuerySet["NoticeRule"]):
    def visible_to(self, user: Person) -> Self:
        """Return the person's own rules, and those of the organizations that the person is in.

        With a token for one organization, only the rules for that one.
        """
        memberships = memberships_of(user)
        organizations = memberships.values("organization")
        own = Q(user=id_of(user))
        grant = grant_of(user)
        if grant is not None and grant.organization is not None:
            own &= Q(organization__in=organizations)
        return self.filter(own | Q(user=None, organization__in=organizations))

    def administered_by(self, user: Person) -> Self:
        """Return the person's own rules, and those of organizations whose admin the person is."""
        theirs = Q(user=None, organization__in=administered_by(user))
        return self.visible_to(user).filter(Q(user=id_of(user)) | theirs)


class NoticeRule(models.Model):
    """Which notices somebody gets, and how.

    A rule with a `user` is that person's: about the person's own deployments, or with an
    `organization` about all deployments there. A rule without a `user` is the organization's.
    `url` is encrypted, because the address of a chat is a password; so is the `secret` that signs.
    `digest_hour` is the hour of the day, in UTC, of a daily digest; None for a notice at once.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="notice_rules",
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, null=True, related_name="notice_rules"
    )
    kinds = ArrayField(models.CharField(max_length=20, choices=Kind.choices), default=list)
    labels = models.JSONField(default=dict, blank=True)
    wait_minutes = models.PositiveIntegerField(default=DEFAULT_WAIT_MINUTES)
    channel = models.CharField(max_length=10, choices=Channel.choices, default=Channel.MAIL)
    url = models.TextField(blank=True, default="")
    host = models.CharField(max_length=255, blank=True, default="")
    secret = models.TextField(blank=True, default="")
    digest_hour = models.PositiveSmallIntegerField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = NoticeRuleQuerySet.as_manager()

    if TYPE_CHECKING:
        user_id: int | None
        organization_id: int | None

    class Meta:
        ordering = ["id"]
        triggers = trail(
            "user_id", "organization_id", "kinds", "labels", "wait_minutes", "channel", "host",
            "digest_hour", "enabled",
            secrets=("url", "secret"), called="",
        )  # fmt: skip
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False) | Q(organization__isnull=False),
                name="notice_rule_of_somebody",
            ),
            models.CheckConstraint(
                condition=Q(channel=Channel.MAIL, url="") | (~Q(channel=Channel.MAIL) & ~Q(url="")),
                name="notice_rule_has_address",
            ),
            models.CheckConstraint(
                condition=Q(digest_hour=None) | Q(digest_hour__lte=23), name="notice_digest_hour"
            ),
        ]

    def __str__(self) -> str:
        return f"notice rule {self.pk}"

    @property
    def scope(self) -> Scope:
        if self.user_id is None:
            return Scope.ORGANIZATION
        return Scope.OWN if self.organization_id is None else Scope.ALL

    @property
    def failing_since(self) -> datetime | None:
        """Since when all attempts to reach its address have failed; None if the last one did not.

        For mails it is None, because the mailbox is not the rule's.
        """
        recipient = getattr(self, "recipient", None)
        return recipient.failing_since if recipient else None


class NoticeRecipient(models.Model):
    """A recipient of messages: a person by mail, or the address of a rule.

    Whichever rules lead to a person's mailbox, they share the recipient, so that a person gets one
    mail about a fact. Nothing is sent before `paused_until`, because there were `failures` since
    the last success, the first of them at `failing_since`. `refused_address` is the mail address
    that the mail server refused for good, for `refused_reason`; a new address is tried again. The
    sender with the `lease` sends, until `leased_until`.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    rule = models.OneToOneField(
        NoticeRule, on_delete=models.CASCADE, null=True, related_name="recipient"
    )
    unsubscribed_at = models.DateTimeField(null=True)
    refused_address = models.CharField(max_length=254, blank=True, default="")
    refused_reason = models.TextField(blank=True, default="")
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(default=timezone.now)

    objects = LockingQuerySet["NoticeRecipient"].as_manager()

    if TYPE_CHECKING:
        user_id: int | None
        rule_id: int | None

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=False, rule__isnull=True)
                | Q(user__isnull=True, rule__isnull=False),
                name="notice_recipient_is_one",
            )
        ]

    def __str__(self) -> str:
        return f"notice recipient {self.pk}"


class NoticeMessageQuerySet(TenantQuerySet["NoticeMessage"]):
    def visible_to(self, user: Person) -> Self:
        """Return the messages to the person, those to the addresses of the person's rules, and
        those of the organizations whose admin the person is."""
        own = Q(recipient__rule__in=NoticeRule.objects.administered_by(user))
        grant = grant_of(user)
        if grant is None or grant.organization is None:
            own |= Q(recipient__user=id_of(user))
        return self.filter(own)


class NoticeMessage(models.Model):
    """A mail, or a POST to an address, with the notices that it carries.

    `thread` is what the mail is about, such as `deployment-7`; a digest or a summary has none.
    `error` says why the last attempt failed.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"

    recipient = models.ForeignKey(
        NoticeRecipient, on_delete=models.CASCADE, related_name="messages"
    )
    subject = models.TextField()
    thread = models.CharField(max_length=40, blank=True, default="")
    is_test = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.SCHEDULED)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True)

    objects = NoticeMessageQuerySet.as_manager()

    if TYPE_CHECKING:
        recipient_id: int

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="scheduled", next_attempt_at__isnull=False)
                | (~Q(status="scheduled") & Q(next_attempt_at__isnull=True)),
                name="notice_attempt_scheduled",
            )
        ]
        indexes = [
            models.Index(fields=["recipient", "created_at"], name="notice_message_recent"),
            models.Index(
                fields=["next_attempt_at"],
                name="notice_message_due",
                condition=Q(status="scheduled"),
            ),
        ]

    def __str__(self) -> str:
        return self.subject


class Notice(models.Model):
    """A fact for a recipient; without a `message`, it waits until `due_at` at least.

    `key` names the fact, so that a recipient gets it once. `group` is what it is about, such as
    `deployment-7`, or `array-3` for an element of an array; then it may stand for `count` equal
    facts about different elements. `deployment_id` has no foreign key, because a notice outlives
    its deployment.
    """

    recipient = models.ForeignKey(NoticeRecipient, on_delete=models.CASCADE, related_name="notices")
    organization = models.ForeignKey(
        Organization,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    deployment_id = models.BigIntegerField()
    name = models.CharField(max_length=200)
    group = models.CharField(max_length=40)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    key = models.CharField(max_length=80)
    count = models.PositiveIntegerField(default=1)
    headline = models.TextField()
    detail = models.TextField(blank=True, default="")
    time = models.DateTimeField()
    is_digest = models.BooleanField(default=False)
    due_at = models.DateTimeField()
    message = models.ForeignKey(
        NoticeMessage, on_delete=models.CASCADE, null=True, related_name="notices"
    )

    objects = LockingQuerySet["Notice"].as_manager()

    if TYPE_CHECKING:
        recipient_id: int
        organization_id: int
        message_id: int | None

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["recipient", "key"], name="notice_once"),
        ]
        indexes = [
            models.Index(
                fields=["recipient", "due_at"],
                name="notice_due",
                condition=Q(message__isnull=True),
            ),
            models.Index(fields=["deployment_id", "kind"], name="notice_of_deployment"),
        ]

    def __str__(self) -> str:
        return self.headline

    @property
    def others(self) -> int:
        """How many facts it stands for besides the one of its headline."""
        return self.count - 1


class NoticeCursor(models.Model):
    """How far the facts of an organization have been collected.

    Every event up to the number `position`, and every deployment that began to wait long before
    `scanned_at`, has its notices.
    """

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    position = models.BigIntegerField(default=0)
    scanned_at = models.DateTimeField(default=timezone.now)

    objects = LockingQuerySet["NoticeCursor"].as_manager()

    class Meta:
        ordering = ["organization"]

    def __str__(self) -> str:
        return f"notices of organization {self.pk} up to {self.position}"


class NoticeCount(models.Model):
    """How many attempts by a channel had this outcome; it only grows."""

    channel = models.CharField(max_length=10, choices=Channel.choices)
    outcome = models.CharField(max_length=10)
    value = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "outcome"], name="notice_count_unique")
        ]

    def __str__(self) -> str:
        return f"{self.value} {self.outcome} by {self.channel}"
