"""The heartbeats of beat and workers."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from clusters.wakeups import ENGINES
from hypervisor.celery import app
from scheduling.models import ClusterSample, Day, Pulse, Sample
from scheduling.monitoring import heartbeats
from scheduling.monitoring.beat_scheduler import HeartbeatScheduler
from scheduling.monitoring.minutes import take_sample
from scheduling.periodic import install
from scheduling.tasks import purge_samples, record_heartbeat, sample

pytestmark = pytest.mark.django_db


def test_each_process_has_one_heartbeat_that_is_renewed() -> None:
    now = timezone.now()
    heartbeats.record_worker("engines", "a@here", now - timedelta(minutes=1))
    heartbeats.record_worker("engines", "a@here", now)
    heartbeats.record_worker("engines", "b@here", now)

    assert heartbeats.last_seen(now) == (None, {"engines": {"a@here": now, "b@here": now}})


def test_a_worker_without_a_heartbeat_for_an_hour_is_ignored() -> None:
    now = timezone.now()
    heartbeats.record_worker("engines", "a@gone", now - timedelta(minutes=61))

    assert heartbeats.last_seen(now) == (None, {})


@pytest.mark.django_db(transaction=True)  # beat commits, and opens new connections
def test_beat_records_its_heartbeat_at_each_tick() -> None:
    scheduler = HeartbeatScheduler(app=app, lazy=True)

    scheduler.tick()

    beat, _workers = heartbeats.last_seen(timezone.now())
    assert beat is not None


def test_a_worker_records_its_heartbeat_with_the_name_of_the_queue() -> None:
    record_heartbeat.apply(args=("engines",))
    record_heartbeat.apply()

    _beat, workers = heartbeats.last_seen(timezone.now())
    assert sorted(workers) == ["engines", "planning"]


def test_beat_asks_the_workers_of_each_queue_for_a_heartbeat() -> None:
    install()

    rows = PeriodicTask.objects.filter(task="scheduling.note_pulse")
    asked = rows.order_by("pk").values_list("queue", "args", "interval__every")
    assert list(asked) == [
        (None, "[]", 5), ("engines", '["engines"]', 5), ("background", '["background"]', 5)
    ]  # fmt: skip
    assert set(settings.CELERY_TASK_ROUTES["deployments.reconcile"].values()) == {ENGINES}


def test_the_day_is_rolled_up_every_few_minutes() -> None:
    noon = timezone.now().replace(minute=0)
    take_sample(noon - timedelta(minutes=2))

    sample.apply()

    taken = Sample.objects.latest("time")
    assert Day.objects.exists() == (taken.time.minute % 5 == 0)


@override_settings(SAMPLE_HISTORY_DAYS=3)
def test_old_samples_and_heartbeats_are_purged_and_days_stay() -> None:
    now = timezone.now()
    take_sample(now - timedelta(days=4))
    take_sample(now)
    Day.objects.create(
        date=now.date() - timedelta(days=99), minutes=1, submitted=0, ran=0, inverted=0,
        overlooked=0, packed=0, packable=0, work=0, lost=0,
    )  # fmt: skip
    heartbeats.record("celery@gone", now - timedelta(days=2))

    purge_samples()

    assert not Sample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert not ClusterSample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert Sample.objects.exists()
    assert Day.objects.count() == 1
    assert not Pulse.objects.exists()
