"""Wrong clocks raise an alarm, and nothing waits for an impossible time."""

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
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime import closing, outcomes
from deployments.runtime.models import Run
from hypervisor.celery import app
from orgs.models import Event, Organization
from scheduling.insight import verify
from scheduling.models import Pulse
from scheduling.monitoring import clocks, health, heartbeats
from scheduling.monitoring.alarm import Alarm
from scheduling.monitoring.alarms import Hour, alarms
from scheduling.monitoring.beat_scheduler import HeartbeatScheduler
from scheduling.monitoring.minutes import take_sample
from scheduling.planner.policy import Policy
from tests.fixtures.deployments import Bring
from tests.support.cycles import run_due_cycles

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def wait_until(holds: Callable[[], bool], work: Callable[[], object] = lambda: None) -> None:
    deadline = monotonic() + 20
    while not holds():
        assert monotonic() < deadline, "timed out"
        work()
        sleep(0.05)


@pytest.fixture
def job(transactional_db: None) -> Iterator[PeriodicTask]:
    """A task that is sent every second to a queue without workers."""
    PeriodicTask.objects.all().delete()
    second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    yield PeriodicTask.objects.create(
        name="each second", task="scheduling.note_pulse", interval=second, queue="nobody"
    )
    with app.connection_for_write() as broker:
        broker.SimpleQueue("nobody").clear()


@contextmanager
def locked(deployment: Deployment) -> Iterator[None]:
    """Lock the row by another connection."""
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


def beat() -> HeartbeatScheduler:
    scheduler = HeartbeatScheduler(app=app, lazy=True)
    scheduler.sync_every_tasks = 1
    return scheduler


def test_beat_continues_after_a_restart_if_a_jobs_last_run_is_in_the_future(
    job: PeriodicTask,
) -> None:
    PeriodicTask.objects.update(last_run_at=timezone.now() + DAY)
    scheduler = beat()

    wait_until(lambda: runs(job) >= 2, scheduler.tick)

    job.refresh_from_db()
    assert job.last_run_at <= timezone.now()


def test_beat_continues_when_its_clock_is_set_back(job: PeriodicTask) -> None:
    scheduler = beat()
    with time_machine.travel(timezone.now() + DAY, tick=True):
        wait_until(lambda: runs(job) >= 1, scheduler.tick)
        assert PeriodicTask.objects.get(pk=job.pk).last_run_at > timezone.now() - timedelta(hours=1)
    before = runs(job)

    wait_until(lambda: runs(job) >= before + 2, scheduler.tick)


def test_a_job_that_never_ran_does_not_wait_for_a_future_time(job: PeriodicTask) -> None:
    PeriodicTask.objects.update(last_run_at=None, date_changed=timezone.now() + DAY)
    scheduler = beat()

    wait_until(lambda: runs(job) >= 1, scheduler.tick)

    with capture_logs() as logs:
        scheduler.tick()
    assert logs == []
    job.refresh_from_db()
    assert job.date_changed <= timezone.now()


def test_beat_keeps_correct_times(job: PeriodicTask) -> None:
    long_ago = timezone.now() - timedelta(milliseconds=200)
    PeriodicTask.objects.update(last_run_at=long_ago)

    beat().tick()

    job.refresh_from_db()
    assert job.last_run_at == long_ago


@pytest.mark.parametrize("field", ["ready_after", "suspended_until"])
def test_an_impossibly_long_back_off_ends_now(
    acme: Organization, forge: Cluster, bring: Bring, field: str
) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    Deployment.objects.update(**{field: timezone.now() + DAY})

    run_due_cycles()

    deployment.refresh_from_db()
    until = getattr(deployment, field)
    assert until is None or until <= timezone.now()
    event = Event.objects.get(subject_id=deployment.pk, kind="back_off_cut")
    assert "a clock was wrong" in event.reason
    if field == "ready_after":
        assert deployment.status == Status.STARTING


HOUR = timedelta(hours=1)


def test_a_back_off_written_by_a_clock_an_hour_ahead_ends_now(forge: Cluster, bring: Bring) -> None:
    """It is not too long, but began at the end of a run that lies in the future."""
    deployment = bring(Status.RUNNING)
    with time_machine.travel(timezone.now() + HOUR):
        services.preempt(deployment, actor="olga")

    run_due_cycles()

    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING
    assert not Run.objects.filter(released_at__gt=timezone.now()).exists()


@pytest.mark.django_db(transaction=True)
def test_a_runs_time_is_kept_until_the_back_off_that_it_disproves_is_cut(
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


def test_times_that_are_not_set_stay_unset(forge: Cluster, bring: Bring) -> None:
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


def test_verify_accepts_corrected_runs(forge: Cluster, bring: Bring) -> None:
    with time_machine.travel(timezone.now() + HOUR):
        deployment = bring(Status.RUNNING)
    services.stop(deployment, actor="alice")
    closing.close([deployment.runs.get().pk], actor="system:test", now=timezone.now() + HOUR)
    assert list(verify.violations()) != []

    clocks.cut(actor="system:test")

    assert list(verify.violations()) == []


def test_samples_of_future_minutes_are_deleted(forge: Cluster) -> None:
    take_sample(timezone.now() + HOUR)

    clocks.cut(actor="system:test")

    assert take_sample(timezone.now() + timedelta(minutes=2)) is not None


def test_a_possible_back_off_stays(forge: Cluster, bring: Bring) -> None:
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


def test_a_restarts_back_off_stays_even_if_evictions_have_shorter_ones(
    forge: Cluster, bring: Bring, settings: Settings
) -> None:
    settings.SCHEDULER_POLICY = Policy(longest_backoff_seconds=0, operator_backoff_seconds=1)
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    Deployment.objects.update(ready_after=timezone.now() + outcomes.LONGEST_DELAY)

    assert clocks.cut(actor="system:test") == 0


def test_a_process_whose_clock_is_wrong_cuts_nothing(forge: Cluster, bring: Bring) -> None:
    deployment = bring(Status.RUNNING)
    services.preempt(deployment, actor="olga")
    until = timezone.now() + DAY
    Deployment.objects.update(ready_after=until)

    with time_machine.travel(timezone.now() - DAY):
        assert clocks.cut(actor="system:test") == 0

    deployment.refresh_from_db()
    assert deployment.ready_after == until


def clock_alarms() -> list[Alarm]:
    now = timezone.now()
    found = alarms(now, health.read(now, None), None, Hour(suspended=0, failed=0, ended=0))
    return [alarm for alarm in found if alarm.title == "Clocks disagree"]


def test_heartbeats_have_the_databases_time_and_wrong_clocks_raise_an_alarm(db: None) -> None:
    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    assert clock_alarms() == []
    with time_machine.travel(timezone.now() + timedelta(seconds=95)):
        heartbeats.record_worker(heartbeats.PLANNING, "celery@ahead")
    with time_machine.travel(timezone.now() - timedelta(seconds=40)):
        heartbeats.record_worker(heartbeats.PLANNING, "celery@behind")

    (alarm,) = clock_alarms()

    assert alarm.level == "critical"
    assert "celery@ahead is 95 s ahead, celery@behind is 40 s behind" in alarm.detail
    _beat, workers = heartbeats.last_seen(timezone.now())
    seen = workers[heartbeats.PLANNING].values()
    assert max(seen) - min(seen) < timedelta(seconds=20)


def test_a_worker_that_only_discards_messages_is_judged_by_its_latest_heartbeat(db: None) -> None:
    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    with time_machine.travel(timezone.now() + HOUR):
        heartbeats.record_worker(heartbeats.DISCARDING, "celery@here")

    (alarm,) = clock_alarms()

    assert "celery@here is 3600 s ahead" in alarm.detail

    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    assert clock_alarms() == []


def test_a_web_server_whose_clock_is_wrong_reports_itself_and_no_worker(db: None) -> None:
    heartbeats.record_worker(heartbeats.PLANNING, "celery@here")
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        (alarm,) = clock_alarms()
        worker = health.read(timezone.now(), None).worker

    assert "this web server is 7200 s ahead" in alarm.detail
    assert worker.state == "ok"


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_discards_a_message_records_its_clock() -> None:
    """A real worker receives a message that has expired by its clock."""
    with start_worker(app, perform_ping_check=False, queues=["discarding"], pool="solo"):
        app.send_task("scheduling.note_pulse", queue="discarding", expires=0.000001)
        wait_until(lambda: Pulse.objects.filter(name__startswith=heartbeats.DISCARDING).exists())
    connection.close()
