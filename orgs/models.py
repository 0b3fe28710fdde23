"""Tenancy: organizations, their members with roles, and their events."""

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Case, Count, OuterRef, Subquery, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from accounts.audit.triggers import trail
from hypervisor.base.names import NameField
from orgs.feed.models import EventCounter as EventCounter
from orgs.feed.models import EventNumber as EventNumber
from orgs.feed.models import UnnumberedEvent as UnnumberedEvent
from orgs.feed.models import numbers_wanted
from orgs.roles import Role as Role
from orgs.service_accounts.models import ServiceAccount as ServiceAccount
from orgs.tenancy import Person, TenantQuerySet, id_of
from orgs.tokens.grants import Grant, grant_of
from orgs.tokens.models import ApiToken as ApiToken
from orgs.webhooks.models import AttemptCount as AttemptCount
from orgs.webhooks.models import Delivery as Delivery
from orgs.webhooks.models import Webhook as Webhook


def new_invite_code() -> str:
    """Return a code of 96 random bits, which is impossible to guess."""
    return secrets.token_urlsafe(12)


class OrganizationQuerySet(TenantQuerySet["Organization"]):
    organization_path = "pk"

    def as_seen_by(self, user: Person) -> Self:
        """Return the person's organizations, annotated with the person's `role`, as far as the
        caller's token allows it, and with `member_count`."""
        members = Membership.objects.filter(organization=OuterRef("pk")).order_by()
        own = members.filter(user_id=id_of(user))
        return self.visible_to(user).annotate(
            role=Subquery(own.values_list(_role_within(grant_of(user)))),
            member_count=Subquery(
                members.values("organization").annotate(count=Count("pk")).values("count")
            ),
        )


class Organization(models.Model):
    """A tenant. Users become members with its invite code, until `invite_expires_at` and up to
    `invite_max_uses` of them, if these are set; `invite_uses` counts the uses of this code.
    """

    name = NameField(max_length=100)
    invite_code = models.CharField(max_length=32, unique=True, default=new_invite_code)
    invite_expires_at = models.DateTimeField(null=True, blank=True)
    invite_max_uses = models.PositiveIntegerField(null=True, blank=True)
    invite_uses = models.PositiveIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationQuerySet.as_manager()

    if TYPE_CHECKING:
        # Annotated by as_seen_by().
        role: str
        member_count: int

    class Meta:
        ordering = ["id"]
        triggers = trail("name", secrets=("invite_code",))

    def __str__(self) -> str:
        return self.name

    def admits(self, now: datetime) -> bool:
        """Return whether one more person can join with the invite code."""
        expired = self.invite_expires_at is not None and self.invite_expires_at <= now
        used_up = self.invite_max_uses is not None and self.invite_uses >= self.invite_max_uses
        return not (expired or used_up)


def _role_within(grant: Grant | None) -> Any:
    """Return `Role.within` as an expression of the column."""
    if grant is None:
        return "role"
    return Case(*(When(role=role, then=Value(role.within(grant))) for role in Role))


class Membership(models.Model):
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.DEVELOPER)
    joined_at = models.DateTimeField(default=timezone.now)
    from_claims = models.BooleanField(default=False, db_default=False)
    """Whether a provider claims it, so that it follows the claims; see `claims`."""

    class Meta:
        ordering = ["id"]
        triggers = trail("organization_id", "user_id", "role", called="")
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_unique"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.role})"


class Event(models.Model):
    """An entry of the history, never changed afterwards.

    `status` is the subject's new status if the event is a transition. `subject_id` has no foreign
    key, because the history outlives its subjects.
    """

    class Subject(models.TextChoices):
        ORGANIZATION = "organization"
        CLUSTER = "cluster"
        DEPLOYMENT = "deployment"

    organization = models.ForeignKey(
        Organization,
        on_delete=models.CASCADE,
        related_name="events",
        db_constraint=False,
        db_index=False,
    )
    subject = models.CharField(max_length=12, choices=Subject.choices)
    subject_id = models.BigIntegerField()
    time = models.DateTimeField(default=timezone.now, db_default=Now())
    kind = models.CharField(max_length=30)
    actor = models.CharField(max_length=150)
    reason = models.TextField(blank=True, default="")
    status = models.CharField(max_length=10, null=True, blank=True)  # noqa: DJ001 null: no transition
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["id"]
        triggers = [numbers_wanted()]
        indexes = [
            models.Index(fields=["subject", "subject_id", "id"], name="event_subject"),
            models.Index(fields=["organization", "id"], name="event_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.subject_id} {self.kind}"
