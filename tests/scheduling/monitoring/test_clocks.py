"""Clocks that are wrong, or were: nothing waits for a time that cannot be right."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, sleep

import pytest
import time_machine
from celery.contrib.testing.worker import start_worker
from django.db import connection, transaction
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings
from structlog.testing import capture_logs

from clusters.models import Cluster
from deployments import services
from deployments.models import Deployment, Run, Status
from deployments.runtime import closing, outcomes
from hypervisor.celery import app
from orgs.models import Event, Organization
from scheduling.insight import verify
from scheduling.models import Pulse
from scheduling.monitoring import clocks, health, heartbeats
from scheduling.monitoring.alarms import Alarm, Hour, alarms
from scheduling.monitoring.beat_scheduler import NotingScheduler
from scheduling.monitoring.minutes import take_sample
from scheduling.planner.policy import Policy
from scheduling.tasks import run_due_cycles
from tests.fixtures.deployments import Bring

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def wait_until(holds: Callable[[], bool], work: Callable[[], object] = lambda: None) -> None:
    deadline = monotonic() + 20
    while not holds():
        assert monotonic() < deadline, "waited in vain"
        work()
        sleep(0.05)


@pytest.fixture
def job(transactional_db: None) -> Iterator[PeriodicTask]:
    """A job of every second, to a queue where no worker takes it."""
    PeriodicTask.objects.all().delete()
    second, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    yield PeriodicTask.objects.create(
        name="each second", task="scheduling.note_pulse", interval=second, queue="nobody"
    )
    with app.connection_for_write() as broker:
        broker.SimpleQueue("nobody").clear()


@contextmanager
def locked(deployment: Deployment) -> Iterator[None]:
    """Have another connection hold the row's lock."""
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Deployment.objects.select_for_update(no_key=True).get(pk=deployment.pk)
            is_held.set()
            may_go.wait(20)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(20)
    try:
        yield
    finally:
        may_go.set()
        holder.join(20)


def runs(job: PeriodicTask) -> int:
    return int(PeriodicTask.objects.get(pk=job.pk).total_run_count)


def beat() -> NotingScheduler:
    scheduler = NotingScheduler(app=app, lazy=True)
    scheduler.sync_every_tasks = 1
    return scheduler


def test_beat_goes_on_after_a_restart_although_a_job_ran_last_in_the_future(
    job: PeriodicTask,
) -> None:
    PeriodicTask.objects.update(last_run_at=timezone.now() + DAY)
    scheduler = beat()

    wait_until(lambda: runs(job) >= 2, scheduler.tick)

    job.refresh_from_db()
    assert job.last_run_at <= timezone.now()


def test_beat_goes_on_when_its_clock_is_set_back_while_it_runs(job: PeriodicTask) -> None:
    scheduler = beat()
    with time_machine.travel(timezone.now() + DAY, tick=True):
        wait_until(lambda: runs(job) >= 1, scheduler.tick)
        assert PeriodicTask.objects.get(pk=job.pk).last_run_at > timezone.now() - timedelta(hours=1)
    before = runs(job)

    wait_until(lambda: runs(job) >= before + 2, scheduler.tick)


def test_beat_takes_a_job_that_never_ran_for_no_later_than_now(job: PeriodicTask) -> None:
    PeriodicTask.objects.update(last_run_at=None, date_changed=timezone.now() + DAY)
    scheduler = beat()

    wait_until(lambda: runs(job) >= 1, scheduler.tick)

    with capture_logs() as logs:
        scheduler.tick()
    assert logs == []
    job.refresh_from_db()
    assert job.date_changed <= timezone.now()


def test_beat_leaves_times_alone_that_are_right(job: PeriodicTask) -> None:
    long_ago = timezone.now() - timedelta(milliseconds=200)
    PeriodicTask.objects.update(last_run_at=long_ago)

    beat().tick()

    job.refresh_from_db()
    assert job.last_run_at == long_ago


@pytest.mark.parametrize("field", ["ready_after", "suspended_until"])
def test_a_back_off_that_ends_too_late_to_be_true_ends_now(
    acme: Organization, forge: Cluster, bring: Bring, field: str
) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    Deployment.objects.update(**{field: timezone.now() + DAY})

    run_due_cycles()

    deployment.refresh_from_db()
    until = getattr(deployment, field)
    assert until is None or until <= timezone.now()
    told = Event.objects.get(subject_id=deployment.pk, kind="back_off_cut")
    assert "a clock was wrong" in told.reason
    if field == "ready_after":
        assert deployment.status == Status.STARTING


HOUR = timedelta(hours=1)


def test_a_back_off_that_a_clock_wrote_that_was_an_hour_ahead_ends_now(
    forge: Cluster, bring: Bring
) -> None:
    """It is no longer than the longest, but began with the end of a run that lies ahead."""
    deployment = bring(Status.RUNNING)
    with time_machine.travel(timezone.now() + HOUR):
        services.preempt(deployment, actor="olga")

    run_due_cycles()

    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING
    assert not Run.objects.filter(released_at__gt=timezone.now()).exists()


@pytest.mark.django_db(transaction=True)
def test_a_run_shows_that_a_back_off_is_wrong_until_that_is_cut(
    forge: Cluster, bring: Bring
) -> None:
    deployment = bring(Status.RUNNING)
    with time_machine.travel(timezone.now() + HOUR):
        services.preempt(deployment, actor="olga")
    with locked(deployment):
        clocks.cut(actor="system:test")

    clocks.cut(actor="system:test")

    deployment.refresh_from_db()
    assert deployment.ready_after is not None
    assert deployment.ready_after <= timezone.now()


def test_what_has_not_happened_yet_stays_so(forge: Cluster, bring: Bring) -> None:
    with time_machine.travel(timezone.now() + DAY):
        starting, running = bring(Status.STARTING), bring(Status.RUNNING)

    assert clocks.cut(actor="system:test") > 0

    for deployment in (starting, running):
        deployment.refresh_from_db()
        run = deployment.runs.get()
        assert run.placed_at <= timezone.now()
        assert (run.launched_at, run.released_at, run.ended_at) == (None, None, None)
        assert (deployment.checkpoint_at, deployment.ready_after) == (None, None)
    assert starting.started_at is None
    assert starting.runs.get().started_at is None
    assert running.started_at is not None
    assert running.started_at <= timezone.now()


def test_verify_finds_nothing_in_runs_that_a_wrong_clock_began(
    forge: Cluster, bring: Bring
) -> None:
    with time_machine.travel(timezone.now() + HOUR):
        deployment = bring(Status.RUNNING)
    services.stop(deployment, actor="alice")
    closing.close([deployment.runs.get().pk], actor="system:test", now=timezone.now() + HOUR)
    assert list(verify.violations()) != []

    clocks.cut(actor="system:test")

    assert list(verify.violations()) == []


def test_figures_of_minutes_to_come_are_removed(forge: Cluster) -> None:
    take_sample(timezone.now() + HOUR)

    clocks.cut(actor="system:test")

    assert take_sample(timezone.now() + timedelta(minutes=2)) is not None


def test_a_back_off_that_may_be_true_stays(forge: Cluster, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    until = timezone.now() + timedelta(hours=1)
    Deployment.objects.update(ready_after=until, suspended_until=until)

    assert clocks.cut(actor="system:test") == 0

    deployment.refresh_from_db()
    assert (deployment.ready_after, deployment.suspended_until) == (until, until)


@pytest.mark.parametrize("field", ["longest_backoff_seconds", "operator_backoff_seconds"])
def test_a_back_off_as_long_as_the_policy_allows_stays(
    forge: Cluster, bring: Bring, settings: Settings, field: str
) -> None:
    settings.SCHEDULER_POLICY = Policy().with_values({field: 24 * 3600})
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    Deployment.objects.update(ready_after=timezone.now() + DAY)

    assert clocks.cut(actor="system:test") == 0


def test_a_restart_s_back_off_stays_even_if_those_after_an_eviction_are_shorter(
    forge: Cluster, bring: Bring, settings: Settings
) -> None:
    settings.SCHEDULER_POLICY = Policy(longest_backoff_seconds=0, operator_backoff_seconds=1)
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    Deployment.objects.update(ready_after=timezone.now() + outcomes.LONGEST_DELAY)

    assert clocks.cut(actor="system:test") == 0


def test_a_process_whose_own_clock_is_wrong_cuts_nothing(forge: Cluster, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    until = timezone.now() + DAY
    Deployment.objects.update(ready_after=until)

    with time_machine.travel(timezone.now() - DAY):
        assert clocks.cut(actor="system:test") == 0

    deployment.refresh_from_db()
    assert deployment.ready_after == until


def told() -> list[Alarm]:
    now = timezone.now()
    found = alarms(now, health.look(now, None), None, Hour(suspended=0, failed=0, ended=0))
    return [alarm for alarm in found if alarm.title == "Clocks disagree"]


def test_a_worker_is_seen_by_the_databases_clock_and_its_own_is_told(db: None) -> None:
    heartbeats.note_worker(heartbeats.PLANNING, "celery@here")
    assert told() == []
    with time_machine.travel(timezone.now() + timedelta(seconds=95)):
        heartbeats.note_worker(heartbeats.PLANNING, "celery@ahead")
    with time_machine.travel(timezone.now() - timedelta(seconds=40)):
        heartbeats.note_worker(heartbeats.PLANNING, "celery@behind")

    (alarm,) = told()

    assert alarm.level == "critical"
    assert "celery@ahead is 95 s ahead, celery@behind is 40 s behind" in alarm.detail
    _beat, workers = heartbeats.last_seen(timezone.now())
    seen = workers[heartbeats.PLANNING].values()
    assert max(seen) - min(seen) < timedelta(seconds=20)


def test_a_worker_that_only_throws_messages_away_is_told_by_its_latest_note(db: None) -> None:
    heartbeats.note_worker(heartbeats.PLANNING, "celery@here")
    with time_machine.travel(timezone.now() + HOUR):
        heartbeats.note_worker(heartbeats.DISCARDING, "celery@here")

    (alarm,) = told()

    assert "celery@here is 3600 s ahead" in alarm.detail

    heartbeats.note_worker(heartbeats.PLANNING, "celery@here")
    assert told() == []


def test_a_web_server_whose_clock_is_wrong_says_so_and_blames_no_worker(db: None) -> None:
    heartbeats.note_worker(heartbeats.PLANNING, "celery@here")
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        (alarm,) = told()
        worker = health.look(timezone.now(), None).worker

    assert "this web server is 7200 s ahead" in alarm.detail
    assert worker.state == "ok"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_throws_messages_away_notes_its_clock() -> None:
    """A real worker gets a message that has expired by its clock."""
    with start_worker(app, perform_ping_check=False, queues=["discarding"], pool="solo"):
        app.send_task("scheduling.note_pulse", queue="discarding", expires=0.000001)
        wait_until(lambda: Pulse.objects.filter(name__startswith=heartbeats.DISCARDING).exists())
    connection.close()
