"""The figures of webhooks."""

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts.models import User
from hypervisor.metrics import page
from orgs.feed.numbering import number_events
from orgs.models import AttemptCount, Event, Organization, Webhook
from orgs.webhooks import services

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.org"


def figures(name: str) -> dict[str, float]:
    """Return the values of a metric by the label that is not the organization."""
    families = text_string_to_metric_families(page._read().decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {
        "".join(value for label, value in sample.labels.items() if label != "organization"): (
            sample.value
        )
        for sample in samples
    }


def test_webhooks_are_counted_by_state(acme: Organization, alice: User) -> None:
    rows = [services.add(acme, by=alice, url=f"{URL}/{number}")[0] for number in range(4)]
    services.disable(rows[0], actor="alice", reason="For a while.")
    Webhook.objects.filter(pk=rows[1].pk).update(failures=3)
    AttemptCount.objects.create(organization=acme, outcome="delivered", value=7)

    assert figures("hypervisor_webhooks") == {"working": 2, "failing": 1, "disabled": 1}
    assert figures("hypervisor_webhook_attempts_total") == {"delivered": 7, "failed": 0}


def test_what_waits_is_late_only_if_nothing_tries(acme: Organization, alice: User) -> None:
    assert figures("hypervisor_webhook_delay_seconds") == {"": 0}
    now = timezone.now()
    webhook, _ = services.add(acme, by=alice, url=URL)
    Event.objects.update(time=now - timedelta(minutes=10))
    Webhook.objects.update(paused_until=now, leased_until=now - timedelta(minutes=20))
    # The event has no number yet.
    assert figures("hypervisor_webhook_delay_seconds")[""] == pytest.approx(600, abs=60)
    assert figures("hypervisor_webhook_undelivered_seconds") == {}

    number_events()
    assert figures("hypervisor_webhook_undelivered_seconds")[""] == pytest.approx(600, abs=60)
    assert figures("hypervisor_webhook_delay_seconds")[""] < 60

    services.disable(webhook, actor="alice", reason="For a while.")
    number_events()
    assert figures("hypervisor_webhook_undelivered_seconds") == {}
    assert figures("hypervisor_webhook_delay_seconds") == {"": 0}
