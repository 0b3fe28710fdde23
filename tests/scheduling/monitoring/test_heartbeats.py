"""The notes by which beat and workers are known to live."""

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
from scheduling.monitoring.beat_scheduler import NotingScheduler
from scheduling.monitoring.minutes import take_sample
from scheduling.periodic import install
from scheduling.tasks import note_pulse, purge_samples, sample

pytestmark = pytest.mark.django_db


def test_each_process_has_one_note_that_is_renewed() -> None:
    now = timezone.now()
    heartbeats.note_worker("engines", "a@here", now - timedelta(minutes=1))
    heartbeats.note_worker("engines", "a@here", now)
    heartbeats.note_worker("engines", "b@here", now)

    assert heartbeats.last_seen(now) == (None, {"engines": {"a@here": now, "b@here": now}})


def test_a_worker_that_was_not_seen_for_an_hour_is_forgotten() -> None:
    now = timezone.now()
    heartbeats.note_worker("engines", "a@gone", now - timedelta(minutes=61))

    assert heartbeats.last_seen(now) == (None, {})


@pytest.mark.django_db(transaction=True)  # beat commits, and opens connections anew
def test_beat_notes_itself_at_each_look_at_the_schedule() -> None:
    scheduler = NotingScheduler(app=app, lazy=True)

    scheduler.tick()

    beat, _workers = heartbeats.last_seen(timezone.now())
    assert beat is not None


def test_a_worker_notes_itself_when_asked_by_the_name_of_its_queue() -> None:
    note_pulse.apply(args=("engines",))
    note_pulse.apply()

    _beat, workers = heartbeats.last_seen(timezone.now())
    assert sorted(workers) == ["engines", "planning"]


def test_beat_asks_the_workers_of_each_queue_for_a_pulse() -> None:
    install()

    rows = PeriodicTask.objects.filter(task="scheduling.note_pulse")
    asked = rows.order_by("pk").values_list("queue", "args", "interval__every")
    assert list(asked) == [(None, "[]", 5), ("engines", '["engines"]', 5)]
    assert set(settings.CELERY_TASK_ROUTES["deployments.reconcile"].values()) == {ENGINES}


def test_the_day_is_rolled_up_every_few_minutes() -> None:
    noon = timezone.now().replace(minute=0)
    take_sample(noon - timedelta(minutes=2))

    sample.apply()

    taken = Sample.objects.latest("time")
    assert Day.objects.exists() == (taken.time.minute % 5 == 0)


@override_settings(SAMPLE_HISTORY_DAYS=3)
def test_old_samples_and_notes_are_purged_and_days_stay() -> None:
    now = timezone.now()
    take_sample(now - timedelta(days=4))
    take_sample(now)
    Day.objects.create(
        date=now.date() - timedelta(days=99), minutes=1, submitted=0, ran=0, inverted=0,
        overlooked=0, packed=0, packable=0, work=0, lost=0,
    )  # fmt: skip
    heartbeats.note("celery@gone", now - timedelta(days=2))

    purge_samples()

    assert not Sample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert not ClusterSample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert Sample.objects.exists()
    assert Day.objects.count() == 1
    assert not Pulse.objects.exists()
