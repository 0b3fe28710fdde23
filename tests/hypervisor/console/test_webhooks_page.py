"""Operators see and steer webhooks and their deliveries."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.models import User
from hypervisor.console.groups import OPERATORS, VIEWERS
from orgs.feed.numbering import number_events
from orgs.models import Delivery, Event, Organization, Webhook
from orgs.webhooks import services

pytestmark = pytest.mark.django_db

LIST, DELIVERIES = "admin:orgs_webhook_changelist", "admin:orgs_delivery_changelist"


@pytest.fixture
def webhook(acme: Organization, alice: User) -> Webhook:
    return services.add(acme, by=alice, url="https://hooks.example.org/path")[0]


def act(browser: Client, page: str, action: str, row: Any) -> Any:
    body = {"action": action, "_selected_action": [row.pk]}
    return browser.post(reverse(page), body, follow=True)


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def of_group(name: str) -> Client:
    user = User.objects.create_user(f"of-{name}", password="not-tried", is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    browser = Client()
    browser.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return browser


def test_an_operator_disables_tests_and_enables_a_webhook(webhook: Webhook) -> None:
    operator = of_group(OPERATORS)

    act(operator, LIST, "disable", webhook)
    webhook.refresh_from_db()
    assert webhook.disabled_reason == "of-Operators disabled it."
    act(operator, LIST, "send_test", webhook)
    assert webhook.deliveries.get().kind == "ping"
    act(operator, LIST, "enable", webhook)
    webhook.refresh_from_db()
    assert webhook.enabled
    kinds = Event.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["webhook_added", "webhook_disabled", "webhook_enabled"]


def test_an_operator_sends_what_failed_again(webhook: Webhook) -> None:
    operator = of_group(OPERATORS)
    rows = webhook.deliveries
    row = rows.create(number=1, kind="renamed", status="failed", attempts=10)
    number_events()
    Webhook.objects.update(position=1)

    answer = act(operator, LIST, "replay_failed", webhook)
    assert "1 messages" in messages_of(answer)[0]
    assert rows.get().status == "scheduled"

    Delivery.objects.update(status="failed", next_attempt_at=None)
    act(operator, DELIVERIES, "replay", row)
    assert rows.get().status == "scheduled"

    services.disable(webhook, actor="alice", reason="For a while.")
    assert "enable it first" in messages_of(act(operator, DELIVERIES, "replay", row))[0]


def test_the_pages_show_no_secret_and_viewers_only_look(webhook: Webhook) -> None:
    viewer = of_group(VIEWERS)
    page = reverse("admin:orgs_webhook_change", args=[webhook.pk])

    shown = viewer.get(page).content.decode()

    assert "https://hooks.example.org/path" in shown
    assert webhook.secret not in shown
    act(viewer, LIST, "disable", webhook)
    webhook.refresh_from_db()
    assert webhook.enabled
    assert viewer.get(reverse(DELIVERIES)).status_code == 200
