"""The figures of notices."""

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from deployments.choices import Status
from deployments.models import Notice, NoticeCount, NoticeMessage, NoticeRecipient
from deployments.notices import outbox
from deployments.notices.collecting import collect
from hypervisor.metrics import page
from orgs.models import Event
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db

TEN_MINUTES = pytest.approx(600, abs=60)


def figures(name: str) -> dict[str, float]:
    """Return the values of a metric by its labels."""
    families = text_string_to_metric_families(page._read().decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {" ".join(sample.labels.values()): sample.value for sample in samples}


def delay() -> float:
    return figures("hypervisor_notice_delay_seconds")[""]


def test_attempts_are_counted_by_channel() -> None:
    NoticeCount.objects.create(channel="mail", outcome="sent", value=7)

    counts = figures("hypervisor_notice_attempts_total")
    assert counts.pop("mail sent") == 7
    assert counts == dict.fromkeys(
        ("mail failed", "slack sent", "slack failed", "webhook sent", "webhook failed"), 0
    )


def test_the_delay_grows_while_nothing_collects_or_sends(bring: Bring, settings: Settings) -> None:
    settings.MAIL_IS_SENT = True
    now = timezone.now()
    assert delay() < 60
    bring(Status.FAILED)
    Event.objects.update(time=now - timedelta(minutes=10))
    assert delay() == TEN_MINUTES

    collect(now)
    assert delay() < 60
    Notice.objects.update(due_at=now - timedelta(minutes=10))
    NoticeRecipient.objects.update(paused_until=now - timedelta(minutes=20))
    NoticeRecipient.objects.update(leased_until=now - timedelta(minutes=20))
    assert delay() == TEN_MINUTES

    turn = outbox.claim(now)
    assert turn is not None
    assert outbox.load(turn, now)
    assert delay() < 60
    NoticeMessage.objects.update(next_attempt_at=now - timedelta(minutes=10))
    NoticeRecipient.objects.update(leased_until=now - timedelta(minutes=20))
    assert delay() == TEN_MINUTES
