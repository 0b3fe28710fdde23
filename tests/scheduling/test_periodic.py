"""Each periodic job has an interval of its own, in words, and keeps what operators changed."""

from collections import Counter

import pytest
from django.test import Client
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from scheduling.periodic import in_largest_unit, install, jobs

pytestmark = pytest.mark.django_db


def length_s(name: str) -> float:
    row = PeriodicTask.objects.get(name=name)
    assert row.interval is not None
    return float(row.interval.schedule.run_every.total_seconds())


def as_the_former_release() -> None:
    """Share one interval in seconds among the jobs, with the former descriptions."""
    for job in jobs():
        row = PeriodicTask.objects.get(name=job.name)
        shared = IntervalSchedule.objects.filter(every=job.every_s, period="seconds").first()
        row.interval = shared or IntervalSchedule.objects.create(
            every=job.every_s, period="seconds"
        )
        row.description = f"Every {job.every_s} seconds unless changed here."
        row.save()
    IntervalSchedule.objects.filter(periodictask=None).delete()


def test_no_two_jobs_share_an_interval() -> None:
    used = Counter(PeriodicTask.objects.exclude(interval=None).values_list("interval", flat=True))

    assert set(used.values()) == {1}
    assert len(used) == len(jobs())


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(86400, (1, "days")), (7200, (2, "hours")), (300, (5, "minutes")), (90, (90, "seconds"))],
)
def test_an_interval_has_the_largest_unit(seconds: int, unit: tuple[int, str]) -> None:
    assert in_largest_unit(seconds) == unit


def test_an_upgrade_separates_the_intervals_and_keeps_their_lengths() -> None:
    as_the_former_release()
    assert IntervalSchedule.objects.count() < len(jobs())

    install()

    test_no_two_jobs_share_an_interval()
    assert IntervalSchedule.objects.count() == len(jobs())
    assert {job.name: length_s(job.name) for job in jobs()} == {j.name: j.every_s for j in jobs()}
    row = PeriodicTask.objects.get(name="Purge samples")
    assert (str(row.interval), row.description) == ("every day", "Every day unless changed here.")


def test_an_upgrade_keeps_what_an_operator_changed() -> None:
    as_the_former_release()
    IntervalSchedule.objects.filter(every=86400).update(every=7200)
    other = PeriodicTask.objects.get(name="Purge events")
    other.interval = IntervalSchedule.objects.create(every=5, period="minutes")
    other.enabled = False
    other.save()

    install()

    other.refresh_from_db()
    assert (length_s("Purge samples"), length_s("Purge events")) == (7200, 300)
    assert not other.enabled
    assert PeriodicTask.objects.get(name="Purge samples").description.startswith("Every day")


def test_an_operators_own_task_keeps_an_interval_that_it_shared() -> None:
    as_the_former_release()
    shared = IntervalSchedule.objects.get(every=86400, period="seconds")
    own = PeriodicTask.objects.create(name="own", task="scheduling.note_pulse", interval=shared)

    install()

    own.refresh_from_db()
    assert own.interval == shared
    assert PeriodicTask.objects.filter(interval=shared).count() == 1


def test_installing_again_changes_nothing() -> None:
    before = list(PeriodicTask.objects.order_by("pk").values_list("pk", "interval", "date_changed"))

    install()

    after = list(PeriodicTask.objects.order_by("pk").values_list("pk", "interval", "date_changed"))
    assert after == before


def test_the_list_of_intervals_says_for_which_job_each_one_is(console: Client) -> None:
    page = console.get("/admin/django_celery_beat/intervalschedule/").content.decode()

    assert "Purge samples" in page
    assert "Every day" in page
