"""Changes to webhooks: one verb per function, each atomic; those to a webhook have one event."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from hypervisor.base import bounds, purging
from hypervisor.base.bounds import Bound
from hypervisor.base.errors import Conflict, Invalid
from hypervisor.base.secrets import encrypt, rotate
from orgs.events import record
from orgs.feed.kinds import condition
from orgs.feed.numbering import number_events
from orgs.feed.reading import last_number, nearest
from orgs.models import Delivery, EventNumber, Organization, Webhook
from orgs.services import protect_organizations
from orgs.webhooks.messages import TEST
from orgs.webhooks.signing import new_secret

KEEP_HOURS = 24
"""How long the former secret also signs after a rotation, unless the caller wants otherwise."""

MOST_KEEP_HOURS = 168

MOST_FORMER = 3
"""How many former secrets may also sign."""

MOST_REPLAYED = 10_000
_MOST_TESTS = 5

_SECRETS = ("secret", "former_secret", "former_until", "older_secrets")

_REPLAY_ALL = """
    INSERT INTO orgs_delivery
        (webhook_id, number, kind, status, attempts, next_attempt_at, error, created_at)
    SELECT %(webhook)s, n.number, e.kind, 'scheduled', 0, %(now)s, '', %(now)s
    FROM orgs_eventnumber n JOIN orgs_event e ON e.id = n.event_id
    WHERE n.organization_id = %(organization)s AND n.number = ANY(%(numbers)s)
    ON CONFLICT (webhook_id, number) DO UPDATE
        SET status = 'scheduled', attempts = 0, next_attempt_at = excluded.next_attempt_at
"""


@transaction.atomic
def add(
    organization: Organization,
    *,
    by: User,
    url: str,
    description: str = "",
    kinds: Sequence[str] = (),
    enabled: bool = True,
) -> tuple[Webhook, str]:
    """Add a webhook that gets the events from now on; return it with its secret.

    Raises Conflict if the organization has too many.
    """
    bounds.check([_bound(organization)])
    protect_organizations([organization.pk])
    number_events()
    secret = new_secret()
    webhook = Webhook.objects.create(
        organization=organization,
        url=url,
        description=description,
        kinds=list(kinds),
        enabled=enabled,
        disabled_reason="" if enabled else disabled_by(by.username),
        secret=encrypt(secret).decode(),
        position=last_number(organization.pk),
        created_by=by,
    )
    _record(webhook, "webhook_added", by.username, f"Events are sent to {_host(webhook)}.")
    return webhook, secret


@transaction.atomic
def update(webhook: Webhook, *, actor: str, changes: Mapping[str, Any]) -> Webhook:
    """Change the URL, the description or the kinds of events, and enable or disable the webhook.

    A sender that is sending to the webhook begins again with what has changed.
    """
    webhook = Webhook.objects.get_locked(webhook.pk)
    _change(webhook, actor, {name: changes[name] for name in changes if name != "enabled"})
    if changes.get("enabled", webhook.enabled):
        return enable(webhook, actor=actor)
    return disable(webhook, actor=actor, reason=disabled_by(actor))


def _change(webhook: Webhook, actor: str, changes: Mapping[str, Any]) -> None:
    changed = [name for name, value in changes.items() if getattr(webhook, name) != value]
    if not changed:
        return
    for name in changed:
        setattr(webhook, name, changes[name])
    _save(webhook, *changed)
    what = " and ".join({"url": "URL"}.get(name, name) for name in changed)
    _record(webhook, "webhook_updated", actor, f"The {what} of the webhook changed.")


@transaction.atomic
def enable(webhook: Webhook, *, actor: str) -> Webhook:
    """Send to the webhook again, beginning with what has happened since it was disabled."""
    webhook = Webhook.objects.get_locked(webhook.pk)
    if webhook.enabled:
        return webhook
    webhook.enabled, webhook.disabled_reason = True, ""
    webhook.failures, webhook.failing_since = 0, None
    webhook.paused_until = timezone.now()
    former, webhook.position = webhook.position, nearest(webhook.organization_id, webhook.position)
    _save(webhook, "enabled", "disabled_reason", "failures", "failing_since", "paused_until",
          "position")  # fmt: skip
    reason = f"Events after number {webhook.position} are sent."
    if former < webhook.position:
        reason += f" Of those after number {former}, the others have been deleted."
    _record(webhook, "webhook_enabled", actor, reason)
    return webhook


@transaction.atomic
def disable(webhook: Webhook, *, actor: str, reason: str) -> Webhook:
    """Send nothing more to the webhook, except for tests, until it is enabled."""
    webhook = Webhook.objects.get_locked(webhook.pk)
    if not webhook.enabled:
        return webhook
    webhook.enabled, webhook.disabled_reason = False, reason
    _save(webhook, "enabled", "disabled_reason")
    _record(webhook, "webhook_disabled", actor, reason)
    return webhook


def disabled_by(actor: str) -> str:
    """Return the reason of a webhook that a person has disabled."""
    return f"{actor} disabled it."


@transaction.atomic
def rotate_secret(webhook: Webhook, *, actor: str, keep_hours: int) -> tuple[Webhook, str]:
    """Give the webhook a new secret, which is returned; the present one also signs for a while.

    Secrets before it go on signing until their times, MOST_FORMER former ones at most. With 0
    hours, no former secret signs any more.
    """
    webhook = Webhook.objects.get_locked(webhook.pk)
    secret, now = new_secret(), timezone.now()
    former, reason = [], "No former secret signs any more."
    if keep_hours:
        until = now + timedelta(hours=keep_hours)
        former = [(webhook.secret, until), *webhook.former_secrets(now)][:MOST_FORMER]
        reason = f"The former secret also signs for {keep_hours} hours."
    _set_secrets(webhook, encrypt(secret).decode(), former)
    _save(webhook, *_SECRETS)
    _record(webhook, "webhook_secret_rotated", actor, reason)
    return webhook, secret


@transaction.atomic
def delete(webhook: Webhook, *, actor: str) -> None:
    """Delete the webhook with its deliveries."""
    webhook = Webhook.objects.get_locked(webhook.pk, for_deletion=True)
    _record(webhook, "webhook_deleted", actor, f"No events are sent to {_host(webhook)} any more.")
    webhook.delete()


@transaction.atomic
def send_test(webhook: Webhook) -> Delivery:
    """Have a test message sent, also to a webhook that is disabled or fails.

    Raises Conflict while several have not been sent yet.
    """
    webhook = Webhook.objects.get_locked(webhook.pk)
    waiting = webhook.deliveries.filter(number=None, status=Delivery.Status.SCHEDULED).count()
    if waiting >= _MOST_TESTS:
        raise Conflict(f"{waiting} tests have not been sent yet: wait for them.", code="busy")
    return webhook.deliveries.create(kind=TEST, next_attempt_at=timezone.now())


@transaction.atomic
def replay(delivery: Delivery) -> Delivery:
    """Have a message sent again, with all its attempts.

    Raises Conflict if the webhook is disabled, or if the message is a test.
    """
    _check_enabled(Webhook.objects.get_locked(delivery.webhook_id))
    delivery = Delivery.objects.get_locked(delivery.pk)
    if delivery.number is None:
        raise Conflict("A test is not sent again: send another one.")
    delivery.status, delivery.attempts = Delivery.Status.SCHEDULED, 0
    delivery.next_attempt_at = timezone.now()
    delivery.save(update_fields=["status", "attempts", "next_attempt_at"])
    return delivery


@transaction.atomic
def replay_range(webhook: Webhook, *, wanted: Q, only_failed: bool) -> int:
    """Have the messages of many events sent again; return their number.

    `wanted` is a condition on the numbers of events. With `only_failed`, only those that failed for
    good are sent. Raises Conflict if the webhook is disabled, Invalid if there are too many.
    """
    webhook = Webhook.objects.get_locked(webhook.pk)
    _check_enabled(webhook)
    failed = webhook.deliveries.filter(status=Delivery.Status.FAILED, number__isnull=False)
    rows = EventNumber.objects.filter(
        wanted, organization=webhook.organization_id, number__lte=webhook.position
    )
    rows = rows.filter(condition(webhook.kinds, "event__"))
    if only_failed:
        rows = rows.filter(number__in=failed.values("number"))
    numbers = list(rows.order_by("number").values_list("number", flat=True)[: MOST_REPLAYED + 1])
    if len(numbers) > MOST_REPLAYED:
        raise Invalid(
            f"These are more than {MOST_REPLAYED:,} events: choose a smaller range. The first"
            f" {MOST_REPLAYED:,} of them end with number {numbers[-2]}.",
            code="limit_reached",
        )
    with connection.cursor() as cursor:
        cursor.execute(
            _REPLAY_ALL,
            {
                "webhook": webhook.pk,
                "organization": webhook.organization_id,
                "numbers": numbers,
                "now": timezone.now(),
            },
        )
    return len(numbers)


@transaction.atomic
def rotate_keys() -> int:
    """Encrypt all secrets with the first of CREDENTIALS_KEYS; return the number of webhooks.

    Raises CannotDecrypt if the key of one is missing; then nothing has changed.
    """
    count = 0
    now = timezone.now()
    for webhook in Webhook.objects.locked():
        former = webhook.former_secrets(now)
        former = [(rotate(secret).decode(), until) for secret, until in former]
        _set_secrets(webhook, rotate(webhook.secret).decode(), former)
        webhook.save(update_fields=_SECRETS)
        count += 1
    return count


def purge(before: datetime) -> int:
    """Delete the deliveries from before this time that have ended; return how many."""
    rows = Delivery.objects.exclude(status=Delivery.Status.SCHEDULED)
    return purging.purge(rows, "created_at", before)


def _set_secrets(webhook: Webhook, secret: str, former: Sequence[tuple[str, datetime]]) -> None:
    """Set the encrypted secrets: the present one, and the former ones, the last one first."""
    webhook.secret = secret
    webhook.former_secret, webhook.former_until = former[0] if former else ("", None)
    webhook.older_secrets = [[older, until.isoformat()] for older, until in former[1:]]


def _save(webhook: Webhook, *changed: str) -> None:
    """Save these columns, and end the turn of a sender, which has read their former values."""
    webhook.updated_at = webhook.leased_until = timezone.now()
    webhook.lease = None
    webhook.save(update_fields=[*changed, "updated_at", "leased_until", "lease"])


def _check_enabled(webhook: Webhook) -> None:
    if not webhook.enabled:
        raise Conflict("The webhook is disabled: enable it first.", code="webhook_disabled")


def _record(webhook: Webhook, kind: str, actor: str, reason: str) -> None:
    # Members see events, and the path of a URL may contain what only admins may know.
    data = {"webhook": webhook.pk, "host": _host(webhook)}
    record(webhook.organization, kind, actor, reason, data)


def _host(webhook: Webhook) -> str:
    return httpx.URL(webhook.url).host


def _bound(organization: Organization) -> Bound:
    return Bound(
        "MAX_WEBHOOKS_PER_ORGANIZATION",
        organization.pk,
        Webhook.objects.filter(organization=organization),
        lambda there, bound: (
            f"{organization.name} has {there} webhooks, and an organization may have no more than"
            f" {bound}: delete one."
        ),
    )
