"""What a sender has to send, and what became of it; every function is one short transaction.

Several senders may run. One of them at a time sends to a webhook: it has a lease, which it extends
with each attempt, and which expires if the sender dies. The events that a webhook is not done with
are those of the feed after its position, so nothing has to be written before they are sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Greatest

from hypervisor.base.secrets import decrypt
from orgs.feed.numbering import number_events
from orgs.feed.reading import Filter, nearest, read, single
from orgs.models import Delivery, Webhook
from orgs.webhooks import schedule, services
from orgs.webhooks.attempts import Outcome
from orgs.webhooks.messages import Message, of_event, of_test

ACTOR = "system:webhooks"

LEASE = timedelta(seconds=60)
"""Longer than an attempt takes. After a sender was killed, its webhooks wait for so long."""

_RETRIES = 20
"""How many deliveries are tried again before it is the turn of new events."""

_ATTENTION = timedelta(minutes=5)
"""How long a webhook waits for which nothing can be sent, because of an error of the service."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A sender's right to send to a webhook."""

    webhook: int
    organization: int
    lease: UUID


@dataclass(frozen=True, slots=True)
class Job:
    """A message to send: an event of the feed by its number, or a delivery by its id."""

    message: Message
    kind: str
    number: int | None
    delivery: int | None = None

    @property
    def is_test(self) -> bool:
        return self.number is None


@dataclass(frozen=True, slots=True)
class Batch:
    """The next messages for a webhook; with them, it is done with the feed up to `position`."""

    url: str
    keys: Sequence[str]
    jobs: Sequence[Job]
    position: int


_CLAIM = """
    WITH due AS (
        SELECT w.id, w.leased_until AS since, coalesce(busy.turns, 0) + row_number() OVER (
            PARTITION BY w.organization_id ORDER BY w.leased_until, w.id) AS place
        FROM orgs_webhook w
        LEFT JOIN orgs_eventcounter c ON c.organization_id = w.organization_id
        LEFT JOIN unnest(%(organizations)s::bigint[], %(turns)s::bigint[])
            AS busy(organization_id, turns) ON busy.organization_id = w.organization_id
        WHERE w.leased_until <= %(now)s AND (
            w.enabled AND w.paused_until <= %(now)s AND (
                w.position < c.last_number OR EXISTS (
                    SELECT FROM orgs_delivery d
                    WHERE d.webhook_id = w.id AND d.status = 'scheduled'
                      AND d.next_attempt_at <= %(now)s)
            ) OR EXISTS (
                SELECT FROM orgs_delivery d
                WHERE d.webhook_id = w.id AND d.status = 'scheduled' AND d.number IS NULL)
        )
    )
    UPDATE orgs_webhook SET lease = gen_random_uuid(), leased_until = %(until)s
    WHERE id IN (
        SELECT w.id FROM orgs_webhook w JOIN due ON due.id = w.id
        WHERE due.place <= %(each)s AND w.leased_until <= %(now)s
        ORDER BY due.since, w.id LIMIT %(most)s
        FOR NO KEY UPDATE OF w SKIP LOCKED
    )
    RETURNING id, organization_id, lease
"""

_STATE = (
    "position", "failures", "failing_since", "delivered_at", "paused_until", "leased_until",
)  # fmt: skip
"""What an attempt changes of a webhook."""

_COUNT = """
    INSERT INTO orgs_attemptcount AS present (organization_id, outcome, value) VALUES (%s, %s, 1)
    ON CONFLICT (organization_id, outcome) DO UPDATE SET value = present.value + 1
"""


def claim(now: datetime, *, most: int, each: int, busy: Mapping[int, int]) -> list[Turn]:
    """Take the turns of at most `most` webhooks that have something to send.

    An organization gets at most `each`; `busy` has how many the sender has by organization. Those
    that have waited longest come first. All events that have been committed by now get numbers.
    """
    if Webhook.objects.filter(enabled=True).exists():
        number_events()
    parameters: dict[str, Any] = {
        "now": now,
        "until": now + LEASE,
        "most": most,
        "each": each,
        "organizations": list(busy.keys()),
        "turns": list(busy.values()),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, parameters)
        return [Turn(*row) for row in cursor.fetchall()]


def load(turn: Turn, now: datetime) -> Batch | None:
    """Return the next messages, None if there are none. Raises CannotDecrypt.

    Tests come first, then deliveries whose time has come, then events of the feed. After a failure,
    the two take turns, so that an event that a receiver refuses does not keep the others waiting.
    Nothing but tests is sent to a webhook that is disabled or paused.
    """
    webhook = Webhook.objects.filter(pk=turn.webhook, lease=turn.lease).first()
    if webhook is None:
        return None
    jobs, position = list(_tests(webhook)), webhook.position
    if webhook.enabled and webhook.paused_until <= now:
        start = nearest(turn.organization, position)
        page = read(turn.organization, start, Filter(frozenset(webhook.kinds)))
        position = page.after
        new = [
            Job(of_event(turn.organization, item), item.kind, item.number) for item in page.items
        ]
        repeated = list(_repeated(webhook, now))
        jobs += new + repeated if webhook.failures % 2 else repeated + new
    if not jobs and position == webhook.position:
        return None
    return Batch(webhook.url, _keys(webhook, now), jobs, position)


@transaction.atomic
def record(turn: Turn, job: Job, outcome: Outcome, now: datetime) -> bool:
    """Record an attempt; return whether the sender goes on with the batch.

    Nothing is recorded if the sender has lost its lease: then another one repeats the attempt.
    """
    webhook = Webhook.objects.locked().filter(pk=turn.webhook, lease=turn.lease).first()
    if webhook is None:
        return False
    if outcome.is_delivered:
        webhook.failures, webhook.failing_since = 0, None
        webhook.delivered_at, webhook.paused_until = now, min(webhook.paused_until, now)
    elif not job.is_test:
        webhook.failures += 1
        webhook.failing_since = webhook.failing_since or now
        webhook.paused_until = schedule.pause(webhook.failures, now, outcome.retry_after_s)
    if job.delivery is not None:
        _record_repeated(job.delivery, outcome, now, once=job.is_test)
    else:
        _record_first(webhook, job, outcome, now)
    webhook.leased_until = now + LEASE
    webhook.save(update_fields=_STATE)
    with connection.cursor() as cursor:
        label = "delivered" if outcome.is_delivered else "failed"
        cursor.execute(_COUNT, [turn.organization, label])
    _disable_if_useless(webhook, outcome, now)
    return outcome.is_delivered or job.is_test


def advance(turn: Turn, position: int, now: datetime) -> None:
    """Record that the webhook is done with the feed up to the position."""
    Webhook.objects.filter(pk=turn.webhook, lease=turn.lease).update(
        position=Greatest("position", position), leased_until=now + LEASE
    )


def release(turn: Turn, now: datetime, *, postponed: bool = False) -> None:
    """End the turn. With `postponed`, the next one begins only after some minutes."""
    until = now + _ATTENTION if postponed else now
    Webhook.objects.filter(pk=turn.webhook, lease=turn.lease).update(lease=None, leased_until=until)


def _tests(webhook: Webhook) -> Iterator[Job]:
    for row in webhook.deliveries.filter(number=None, status=Delivery.Status.SCHEDULED):
        message = of_test(webhook.organization_id, webhook.pk, row.pk, row.created_at)
        yield Job(message, row.kind, None, row.pk)


def _repeated(webhook: Webhook, now: datetime) -> Iterator[Job]:
    due = webhook.deliveries.due().filter(next_attempt_at__lte=now, number__isnull=False)
    for row in due[:_RETRIES]:
        item = single(webhook.organization_id, row.number or 0)
        if item is None:
            Delivery.objects.filter(pk=row.pk).update(
                status=Delivery.Status.FAILED,
                next_attempt_at=None,
                error="The event was deleted, because it was older than EVENT_HISTORY_DAYS.",
            )
        else:
            message = of_event(webhook.organization_id, item)
            yield Job(message, row.kind, row.number, row.pk)


def _keys(webhook: Webhook, now: datetime) -> list[str]:
    """Return the secrets that sign at present, the new one first."""
    former = [secret for secret, _until in webhook.former_secrets(now)]
    return [decrypt(key) for key in (webhook.secret, *former)]


def _record_first(webhook: Webhook, job: Job, outcome: Outcome, now: datetime) -> None:
    """Record the attempt to deliver an event of the feed, with a row if it failed."""
    webhook.position = job.number or 0
    if not outcome.is_delivered:
        webhook.deliveries.update_or_create(
            number=job.number, defaults={"kind": job.kind, **_result(1, outcome, now)}
        )


def _record_repeated(delivery: int, outcome: Outcome, now: datetime, *, once: bool) -> None:
    row = Delivery.objects.filter(pk=delivery).first()
    if row is not None:
        result = _result(row.attempts + 1, outcome, now, once=once)
        Delivery.objects.filter(pk=row.pk).update(**result)


def _result(
    attempts: int, outcome: Outcome, now: datetime, *, once: bool = False
) -> dict[str, Any]:
    """Return the columns of a delivery after so many attempts."""
    again = None
    if not (outcome.is_delivered or once):
        again = schedule.next_attempt(attempts, now, outcome.retry_after_s)
    status = Delivery.Status.SCHEDULED if again else Delivery.Status.FAILED
    return {
        "status": Delivery.Status.DELIVERED if outcome.is_delivered else status,
        "attempts": attempts,
        "next_attempt_at": again,
        "attempted_at": now,
        "response_status": outcome.status,
        "error": outcome.error,
    }


def _disable_if_useless(webhook: Webhook, outcome: Outcome, now: datetime) -> None:
    days: int = settings.WEBHOOK_FAILING_DAYS
    if not webhook.enabled or outcome.is_delivered:
        return
    if outcome.is_gone:
        services.disable(webhook, actor=ACTOR, reason=outcome.error)
    elif webhook.failing_since and now - webhook.failing_since > timedelta(days=days):
        reason = f"All attempts have failed for {days} days, the last one so: {outcome.error}"
        services.disable(webhook, actor=ACTOR, reason=reason)
