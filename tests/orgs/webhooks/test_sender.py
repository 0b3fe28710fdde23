"""The sender, with real receivers, a real database and processes that die."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import User
from clusters.models import Cluster
from orgs.events import record
from orgs.feed.models import EventNumber
from orgs.models import Delivery, Event, Organization, Webhook
from orgs.webhooks import services
from tests.fixtures.people import ClientFor
from tests.orgs.webhooks.conftest import Add
from tests.support.receiver import OK, Received, Receiver, Reply, receiving, wait_for
from tests.support.sending import sending

pytestmark = pytest.mark.django_db(transaction=True)

Write = Callable[..., None]


@pytest.fixture
def api(client_for: ClientFor, alice: User) -> APIClient:
    return client_for(alice)


def numbers(requests: list[Received]) -> list[int]:
    return [json.loads(request.body)["data"]["number"] for request in requests]


def test_events_are_received_in_order_and_verified(
    add: Add, receiver: Receiver, write: Write, api: APIClient
) -> None:
    write(2)
    webhook, secret = add(receiver.url)
    with sending():
        write(30)
        received = receiver.take(31)

    events = api.get("/events?after=2").json()["events"]
    assert [request.verified(secret)["data"] for request in received] == events
    first = received[0].verified(secret)
    assert first["type"] == "organization.webhook_added"
    assert first["timestamp"] == events[0]["time"]
    assert len({request.id for request in received}) == 31
    assert received[0].headers["content-type"] == "application/json"
    assert receiver.connections < 31
    webhook.refresh_from_db()
    assert (webhook.position, webhook.failures) == (33, 0)
    assert webhook.delivered_at is not None
    assert webhook.lease is None
    assert not webhook.deliveries.exists()


def test_a_webhook_gets_only_the_kinds_that_it_wants(
    add: Add, receiver: Receiver, write: Write
) -> None:
    add(receiver.url, "member_joined")
    with sending():
        write(3)
        write(1, "member_joined")
        write(2)
        write(1, "member_joined")
        assert numbers(receiver.take(2)) == [5, 8]
        wait_for(lambda: Webhook.objects.get().position == 8)


def test_a_subject_stands_for_all_of_its_kinds_also_for_those_to_come(
    add: Add, receiver: Receiver, acme: Organization, forge: Cluster
) -> None:
    add(receiver.url, "cluster")
    with sending():
        record(acme, "renamed", "alice")
        record(forge, "of_a_later_release", "alice")
        (message,) = receiver.take(1)
        wait_for(lambda: Webhook.objects.get().position == EventNumber.objects.count())

    assert json.loads(message.body)["type"] == "cluster.of_a_later_release"


def test_a_killed_sender_loses_nothing(add: Add, receiver: Receiver, write: Write) -> None:
    reached, never = threading.Event(), threading.Event()

    def hold_the_fourth(request: Received) -> Reply:
        if numbers([request]) == [4] and not reached.is_set():
            reached.set()
            return Reply(wait=never)
        return OK

    receiver.reply = hold_the_fourth
    add(receiver.url)
    with a_process() as process:
        write(9)
        assert reached.wait(60)
        process.kill()
        assert process.wait(60) == -9
    write(2)
    before = numbers(receiver.take(4))
    let_leases_expire()
    with sending():
        after = numbers(receiver.take(9))
    never.set()

    assert before == [1, 2, 3, 4]
    assert after == list(range(4, 13))


def test_two_senders_send_each_event_once_and_in_order(
    add: Add, receiver: Receiver, write: Write
) -> None:
    add(receiver.url)
    with sending(), sending():
        for _ in range(10):
            write(4)
            time.sleep(0.05)
        assert numbers(receiver.take(41)) == list(range(1, 42))
        assert receiver.is_quiet()


def test_receivers_that_hang_delay_no_other_organization(
    add: Add, receiver: Receiver, write: Write, bob: User
) -> None:
    """Fifteen webhooks of one organization hang for longer than this test takes."""
    other = Organization.objects.create(name="Other")
    never = threading.Event()
    with receiving(lambda _: Reply(wait=never)) as hanging, sending():
        for number in range(15):
            add(f"{hanging.url}/{number}")
        wait_for(lambda: hanging.connections >= 4)
        add(receiver.url, "renamed", organization=other)
        began = time.monotonic()
        for _ in range(3):
            write(organization=other)
            receiver.next()
        took = time.monotonic() - began
        never.set()
    assert took < 10


def test_a_failed_event_is_sent_again_with_the_same_id(
    add: Add, receiver: Receiver, write: Write
) -> None:
    seen: Counter[str] = Counter()

    def fail_once(request: Received) -> Reply:
        seen[request.id] += 1
        fails = numbers([request]) == [3] and seen[request.id] == 1
        return Reply(503, {"Retry-After": "7"}) if fails else OK

    receiver.reply = fail_once
    webhook, secret = add(receiver.url)
    with sending():
        write(2)
        first = receiver.take(3)[2]
        wait_for(webhook.deliveries.exists)
        row = webhook.deliveries.get()
        assert (row.number, row.kind, row.status, row.attempts) == (3, "renamed", "scheduled", 1)
        assert row.response_status == 503
        assert row.next_attempt_at is not None
        assert row.next_attempt_at - timezone.now() > timedelta(seconds=5)
        assert Webhook.objects.get().paused_until - timezone.now() > timedelta(seconds=5)

        let_time_pass()
        write(2)
        assert sorted(numbers(receiver.take(3))) == [3, 4, 5]
        wait_for(lambda: webhook.deliveries.get().status == "delivered")
    assert seen[first.id] == 2
    assert first.verified(secret)["data"]["number"] == 3


def test_a_receiver_that_is_gone_disables_its_webhook_until_it_is_enabled(
    add: Add, receiver: Receiver, write: Write
) -> None:
    receiver.reply = lambda _: Reply(410)
    webhook, _ = add(receiver.url)
    with sending():
        receiver.next()
        wait_for(lambda: not Webhook.objects.get().enabled)
        write(3)
        assert receiver.is_quiet()
        webhook.refresh_from_db()
        assert "410" in webhook.disabled_reason
        event = Event.objects.get(kind="webhook_disabled")
        assert (event.actor, event.data) == (
            "system:webhooks", {"webhook": webhook.pk, "host": "127.0.0.1"}
        )  # fmt: skip

        receiver.reply = lambda _: OK
        services.enable(webhook, actor="alice")
        let_time_pass()
        assert sorted(numbers(receiver.take(6))) == [1, 2, 3, 4, 5, 6]


def test_a_rotated_secret_signs_together_with_the_former_ones(
    add: Add, receiver: Receiver, write: Write
) -> None:
    webhook, first = add(receiver.url)
    webhook, second = services.rotate_secret(webhook, actor="alice", keep_hours=24)
    webhook, third = services.rotate_secret(webhook, actor="alice", keep_hours=24)
    with sending():
        message = receiver.take(3)[0]
        # The second secret ends before the first one.
        Webhook.objects.update(former_until=timezone.now())
        write()
        last = receiver.next()
    assert message.verified(first) == message.verified(second) == message.verified(third)
    assert last.verified(first) == last.verified(third)
    assert [len(each.headers["webhook-signature"].split()) for each in (message, last)] == [3, 2]


def test_a_disabled_webhook_can_be_tested(add: Add, receiver: Receiver) -> None:
    webhook, secret = add(receiver.url)
    services.disable(webhook, actor="alice", reason="For a while.")
    delivery = services.send_test(webhook)
    with sending():
        message = receiver.next().verified(secret)
        wait_for(lambda: webhook.deliveries.get().status == "delivered")
        assert receiver.is_quiet()
    data = {"organization": webhook.organization_id, "webhook": webhook.pk}
    assert (message["type"], message["data"]) == ("ping", data)
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.response_status) == (1, 204)


def test_a_sender_survives_an_outage_of_the_database(
    add: Add, receiver: Receiver, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orgs.webhooks.sender._OUTAGE_S", 0.2)
    add(receiver.url)
    with sending():
        receiver.next()
        wait_for(lambda: Webhook.objects.get().lease is None)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        write(2)
        assert set(numbers(receiver.take(2))) == {2, 3}


@contextmanager
def a_process() -> Iterator["subprocess.Popen[str]"]:
    """Run a sender as a process."""
    values = connection.settings_dict
    url = (
        f"postgres://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT']}"
        f"/{values['NAME']}"
    )
    environment = os.environ | {"DATABASE_URL": url, "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    command = [sys.executable, "-m", "tests.support.sending"]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "sending\n"
        yield process


def let_leases_expire() -> None:
    Webhook.objects.update(leased_until=timezone.now())


def let_time_pass() -> None:
    """Let what waits for its time be due."""
    Webhook.objects.update(paused_until=timezone.now())
    Delivery.objects.filter(status="scheduled").update(next_attempt_at=timezone.now())
