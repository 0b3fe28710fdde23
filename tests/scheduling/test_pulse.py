"""The notes by which beat and workers are known to live."""

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone

from hypervisor.celery import app
from scheduling import pulse
from scheduling.beat import NotingScheduler
from scheduling.models import ClusterSample, Day, Pulse, Sample
from scheduling.periodic import jobs
from scheduling.sampling import take_sample
from scheduling.tasks import note_pulse, purge_samples, sample

pytestmark = pytest.mark.django_db


def test_each_process_has_one_note_that_is_renewed() -> None:
    pulse.note("celery@a", timezone.now() - timedelta(minutes=1))
    pulse.note("celery@a")
    pulse.note("celery@b")

    beat, workers = pulse.last_seen()

    assert beat is None
    assert sorted(workers) == ["celery@a", "celery@b"]
    assert min(workers.values()) > timezone.now() - timedelta(seconds=10)


@pytest.mark.django_db(transaction=True)  # beat commits, and opens connections anew
def test_beat_notes_itself_at_each_look_at_the_schedule() -> None:
    scheduler = NotingScheduler(app=app, lazy=True)

    scheduler.tick()

    beat, _workers = pulse.last_seen()
    assert beat is not None


def test_a_worker_notes_itself_when_asked() -> None:
    note_pulse.apply()

    assert Pulse.objects.exclude(name=pulse.BEAT).count() == 1


def test_beat_asks_workers_as_often_as_a_pulse_is_expected() -> None:
    every = {job.task: job.every_s for job in jobs()}

    assert every["scheduling.note_pulse"] == pulse.EVERY_S
    assert every["scheduling.take_sample"] < 60


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
    pulse.note("celery@gone", now - timedelta(days=2))

    purge_samples()

    assert not Sample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert not ClusterSample.objects.filter(time__lt=now - timedelta(days=3)).exists()
    assert Sample.objects.exists()
    assert Day.objects.count() == 1
    assert not Pulse.objects.exists()
