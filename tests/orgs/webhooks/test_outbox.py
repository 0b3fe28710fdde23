"""What is sent next, and what becomes of a webhook and its deliveries, without a sender."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from orgs.feed.numbering import forget, number_events
from orgs.models import AttemptCount, Delivery, Event, Organization, Webhook
from orgs.webhooks import outbox, schedule, services
from orgs.webhooks.attempts import Outcome
from orgs.webhooks.outbox import LEASE, Job, Turn
from tests.orgs.webhooks.conftest import Add

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.org"
DELIVERED, FAILED = Outcome(200), Outcome(500, "The receiver answered with the status 500.")

Write = Callable[..., None]


@pytest.fixture
def webhook(add: Add) -> Webhook:
    """A webhook that has got its first event, the one of its addition."""
    webhook, _ = add(URL)
    later = timezone.now() + timedelta(seconds=1)
    assert carry_out(later, lambda _: DELIVERED) == [1]
    return webhook


def claimed(now: datetime, most: int = 10, each: int = 10, **busy: Any) -> list[Turn]:
    return outbox.claim(now, most=most, each=each, busy=busy.get("busy", {}))


def carry_out(now: datetime, outcome: Callable[[Job], Outcome]) -> list[int]:
    """Let one sender attempt whatever is due at a time; return the numbers of the events."""
    attempted = []
    for turn in claimed(now):
        while batch := outbox.load(turn, now):
            for job in batch.jobs:
                attempted.append(job.number or 0)
                if not outbox.record(turn, job, outcome(job), now):
                    break
            else:
                outbox.advance(turn, batch.position, now)
                continue
            break
        outbox.release(turn, now)
    return attempted


def test_a_message_is_sent_again_for_three_days_and_then_has_failed(
    webhook: Webhook, write: Write
) -> None:
    write()
    now = began = timezone.now() + timedelta(seconds=2)
    assert carry_out(now, lambda _: FAILED) == [2]
    delays = []
    while due := (row := webhook.deliveries.get()).next_attempt_at:
        assert carry_out(due - timedelta(seconds=1), lambda _: FAILED) == []
        delays.append((due - now).total_seconds())
        now = max(due, Webhook.objects.get().paused_until)
        assert carry_out(now, lambda _: FAILED) == [2]

    assert [
        base <= delay <= 1.1 * base for base, delay in zip(schedule.RETRIES_S, delays, strict=True)
    ] == [True] * 9
    assert timedelta(days=3) < now - began < timedelta(days=4)
    assert (row.status, row.attempts, row.response_status) == ("failed", 10, 500)
    assert Webhook.objects.get().enabled
    counts = dict(AttemptCount.objects.values_list("outcome", "value"))
    assert counts == {"delivered": 1, "failed": 10}


def test_a_webhook_that_fails_for_days_is_disabled_and_loses_nothing(
    webhook: Webhook, write: Write, settings: Settings
) -> None:
    write(4)
    now = timezone.now() + timedelta(seconds=2)
    carry_out(now, lambda _: FAILED)
    now += timedelta(days=settings.WEBHOOK_FAILING_DAYS, hours=1)
    carry_out(now, lambda _: FAILED)

    webhook.refresh_from_db()
    assert not webhook.enabled
    assert "for 5 days" in webhook.disabled_reason
    assert "status 500" in webhook.disabled_reason
    assert claimed(now + timedelta(days=1)) == []

    services.enable(webhook, actor="alice")
    sent = carry_out(now + timedelta(days=2), lambda _: DELIVERED)
    assert sorted({*sent}) == [2, 3, 4, 5, 6, 7]
    assert Event.objects.filter(kind="webhook_disabled").count() == 1


def test_an_event_that_a_receiver_always_refuses_does_not_hold_back_the_others(
    webhook: Webhook, write: Write
) -> None:
    write(6)

    def refuse_even(job: Job) -> Outcome:
        return DELIVERED if (job.number or 0) % 2 else FAILED

    delivered: set[int] = set()
    now = timezone.now()
    for _ in range(40):
        now += timedelta(minutes=6)
        attempted = carry_out(now, refuse_even)
        delivered |= {number for number in attempted if number % 2}
        if Webhook.objects.get().position == 7:
            break
    assert delivered >= {3, 5, 7}
    assert {*webhook.deliveries.values_list("number", flat=True)} == {2, 4, 6}


def test_the_pause_grows_while_a_receiver_fails_and_ends_with_a_success(
    webhook: Webhook, write: Write
) -> None:
    write(12)
    now, pauses = timezone.now() + timedelta(seconds=2), []
    for _ in range(12):
        carry_out(now, lambda _: FAILED)
        paused_until = Webhook.objects.get().paused_until
        pauses.append((paused_until - now).total_seconds())
        now = paused_until
    assert 1 <= pauses[0] <= 1.1
    assert 300 <= pauses[-1] <= 330
    carry_out(now, lambda _: DELIVERED)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.failing_since) == (0, None)


def test_a_dead_senders_turn_is_taken_when_its_lease_expires(
    webhook: Webhook, write: Write
) -> None:
    write()
    now = timezone.now() + timedelta(seconds=2)
    (dead,) = claimed(now)
    batch = outbox.load(dead, now)
    assert batch is not None
    assert claimed(now + LEASE - timedelta(seconds=1)) == []

    (other,) = claimed(now + LEASE)

    assert not outbox.record(dead, batch.jobs[0], DELIVERED, now + LEASE)
    assert outbox.load(dead, now + LEASE) is None
    again = outbox.load(other, now + LEASE)
    assert again is not None
    assert again.jobs == batch.jobs


def test_an_organization_has_a_share_of_the_turns(
    add: Add, alice: User, acme: Organization
) -> None:
    other = Organization.objects.create(name="Other")
    for number in range(5):
        add(f"{URL}/{number}")
    add(f"{URL}/6", organization=other)
    now = timezone.now() + timedelta(seconds=1)

    found = claimed(now, each=3, busy={acme.pk: 1})

    assert sorted(turn.organization for turn in found) == [acme.pk, acme.pk, other.pk]
    assert len(claimed(now, most=1)) == 1


def test_events_that_were_deleted_before_they_were_sent_are_passed_over(
    webhook: Webhook, write: Write
) -> None:
    services.disable(webhook, actor="alice", reason="For a while.")
    write(3)
    claimed(timezone.now() + timedelta(seconds=2))
    number_events()
    gone = list(Event.objects.order_by("pk").values_list("pk", flat=True)[:3])
    forget(gone)
    Event.objects.filter(pk__in=gone).delete()

    services.enable(webhook, actor="alice")

    reason = Event.objects.get(kind="webhook_enabled").reason
    assert reason == (
        "Events after number 3 are sent. Of those after number 1, the others have been deleted."
    )
    sent = carry_out(timezone.now() + timedelta(seconds=2), lambda _: DELIVERED)
    assert sent == [4, 5, 6]


def test_a_delivery_whose_event_was_deleted_has_failed(webhook: Webhook, write: Write) -> None:
    write()
    now = timezone.now() + timedelta(seconds=2)
    carry_out(now, lambda _: FAILED)
    Event.objects.all().delete()

    assert carry_out(now + timedelta(hours=1), lambda _: DELIVERED) == []

    row = webhook.deliveries.get()
    assert (row.status, row.next_attempt_at) == ("failed", None)
    assert "EVENT_HISTORY_DAYS" in row.error


def test_ended_deliveries_are_deleted_after_a_while(webhook: Webhook) -> None:
    now = timezone.now()
    for number, (status, days) in enumerate(
        [("failed", 40), ("delivered", 40), ("scheduled", 40), ("failed", 20)], start=2
    ):
        webhook.deliveries.create(
            number=number,
            kind="renamed",
            status=status,
            created_at=now - timedelta(days=days),
            next_attempt_at=now if status == "scheduled" else None,
        )

    assert services.purge(now - timedelta(days=30)) == 2
    assert {*Delivery.objects.values_list("number", flat=True)} == {4, 5}
