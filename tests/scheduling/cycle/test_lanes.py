"""Long, failing and locked-out cycles run in the background, and delay no other organization."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event
from time import thread_time
from typing import Any

import pytest
import time_machine
from billiard.exceptions import TimeLimitExceeded
from django.conf import settings
from django.db import connections
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from clusters.models import Cluster
from clusters.wakeups import RUN_CYCLE, flush, rerun_requested
from deployments.choices import Status
from orgs.models import Organization
from scheduling import tasks
from scheduling.cycle import lanes, run, warming, working_copy
from scheduling.cycle import next_plan as next_plan_module
from scheduling.cycle.kept import Kept
from scheduling.models import BackgroundCycles, SchedulingCycle
from scheduling.monitoring import cycle_alarms, heartbeats
from scheduling.planner.pipeline import make_plan
from scheduling.planner.plan import Plan
from scheduling.planner.shortlist import Backlog
from scheduling.planner.snapshot import Snapshot
from scheduling.tasks import run_due_cycle, run_long_cycle, run_requested_cycle, write_reasons
from tests.fixtures.deployments import Submit
from tests.support.locks import held

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
_PREFIX = "hypervisor:celery:"
_LAST = "celery\x06\x169"
"""The default queue's messages of the lowest priority."""


@pytest.fixture(autouse=True)
def broker() -> Iterator[Redis]:
    """The broker, without messages."""
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture(autouse=True)
def the_first_long_cycle_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_BURST_S", 0.0)
    monkeypatch.setattr(lanes, "_left", {})


@pytest.fixture
def background() -> None:
    """A worker of the background is at work."""
    heartbeats.record_worker(heartbeats.BACKGROUND, "background@here")


@pytest.fixture
def every_cycle_is_long(monkeypatch: pytest.MonkeyPatch, every_cycle_is_short: None) -> None:
    monkeypatch.setattr(lanes, "LONG_CPU_S", 0.0)


def test_a_cycle_that_waits_for_long_is_long_as_well(
    acme: Organization, monkeypatch: pytest.MonkeyPatch, background: None, broker: Redis
) -> None:
    monkeypatch.setattr(lanes, "LONG_S", 0.0)
    run_requested_cycle(acme.pk)

    run_requested_cycle(acme.pk)

    assert messages(broker, "background") == [(lanes.RUN_LONG_CYCLE, [acme.pk, "change"])]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let each plan fail."""

    def fail(snapshot: Snapshot, backlog: Backlog) -> Plan:
        raise ValueError("a snapshot that no planner understands")

    monkeypatch.setattr(next_plan_module, "make_plan", fail)
    return monkeypatch


def messages(broker: Redis, queue: str) -> list[tuple[str, Any]]:
    """Return the tasks of the messages in the queue and their arguments, the oldest first."""
    found = [json.loads(text) for text in reversed(broker.lrange(_PREFIX + queue, 0, -1))]
    bodies = [json.loads(base64.b64decode(message["body"]))[0] for message in found]
    return [(m["headers"]["task"], body) for m, body in zip(found, bodies, strict=True)]


def fail_once(organization: Organization) -> None:
    with pytest.raises(ValueError, match="no planner"):
        run_long_cycle(organization.pk, "change")


def test_after_a_long_cycle_the_next_one_is_handed_over_once(
    acme: Organization, forge: Cluster, submit: Submit, background: None,
    every_cycle_is_long: None, broker: Redis,
) -> None:  # fmt: skip
    first = submit()
    run_requested_cycle(acme.pk)
    second = submit()

    run_requested_cycle(acme.pk)
    run_due_cycle(acme.pk)

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == (Status.STARTING, Status.PENDING)
    assert messages(broker, "background") == [(lanes.RUN_LONG_CYCLE, [acme.pk, "change"])]


@pytest.fixture
def clock(
    monkeypatch: pytest.MonkeyPatch, every_cycle_is_short: None
) -> Iterator[time_machine.Traveller]:
    """The clock of long cycles, which have three seconds before one counts."""
    for name, value in (("LONG_CPU_S", 0.25), ("LONG_S", 2.0), ("_BURST_S", 3.0)):
        monkeypatch.setattr(lanes, name, value)
    monkeypatch.setattr(lanes, "monotonic", time.time)
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def test_long_cycles_count_when_they_have_taken_too_much_time(
    acme: Organization, clock: time_machine.Traveller
) -> None:
    lanes.succeeded(acme.pk, 1.0, 1.0)
    lanes.succeeded(acme.pk, 2.0, 0.1)
    in_time = BackgroundCycles.objects.count()
    clock.shift(59)
    lanes.succeeded(acme.pk, 1.0, 1.0)

    assert in_time == 0
    assert BackgroundCycles.objects.filter(pk=acme.pk).exists()


def test_the_time_for_long_cycles_grows_back(
    acme: Organization, clock: time_machine.Traveller
) -> None:
    lanes.succeeded(acme.pk, 3.0, 3.0)
    clock.shift(61)
    lanes.succeeded(acme.pk, 1.0, 1.0)

    assert not BackgroundCycles.objects.exists()


def test_what_follows_the_commit_does_not_make_a_cycle_long(
    acme: Organization, every_cycle_is_short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = []

    def compute(decided: object) -> None:
        until = thread_time() + lanes.LONG_CPU_S
        while thread_time() < until:
            pass
        finished.append(decided)

    monkeypatch.setattr(lanes, "LONG_CPU_S", 0.3)
    monkeypatch.setattr(run, "_finish", compute)
    run_requested_cycle(acme.pk)

    assert finished
    assert not BackgroundCycles.objects.exists()


def test_the_reasons_are_requested_of_the_background_once(
    acme: Organization, background: None, broker: Redis
) -> None:
    lanes.request_reasons(acme.pk)
    lanes.request_reasons(acme.pk)
    first = messages(broker, "background")
    write_reasons(acme.pk)

    lanes.request_reasons(acme.pk)

    assert first == [(lanes.WRITE_REASONS, [acme.pk])]
    assert messages(broker, "background") == first * 2


def test_the_background_runs_the_cycle_and_later_changes_get_a_message_of_their_own(
    acme: Organization, forge: Cluster, submit: Submit, background: None,
    every_cycle_is_long: None, broker: Redis,
) -> None:  # fmt: skip
    run_requested_cycle(acme.pk)
    deployment = submit()
    run_requested_cycle(acme.pk)

    run_long_cycle(acme.pk, "change")
    run_requested_cycle(acme.pk)

    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING
    assert len(messages(broker, "background")) == 2


def test_an_organization_returns_when_its_last_long_cycle_is_long_ago(
    acme: Organization, forge: Cluster, submit: Submit, every_cycle_is_long: None
) -> None:
    run_requested_cycle(acme.pk)
    BackgroundCycles.objects.update(until=timezone.now())
    deployment = submit()

    run_requested_cycle(acme.pk)

    deployment.refresh_from_db()
    assert deployment.status == Status.STARTING


def test_without_a_worker_of_the_background_the_default_queue_gets_long_cycles(
    acme: Organization, every_cycle_is_long: None, broker: Redis
) -> None:
    run_requested_cycle(acme.pk)

    run_requested_cycle(acme.pk)

    assert messages(broker, "celery") == [(lanes.RUN_LONG_CYCLE, [acme.pk, "change"])]


def test_a_killed_cycle_begins_again_in_the_background(
    acme: Organization, background: None, broker: Redis
) -> None:
    limit = TimeLimitExceeded(lanes.SHORT_LIMIT_S)

    run_requested_cycle.on_failure(limit, "id", [acme.pk], {}, None)

    assert messages(broker, "background") == [(lanes.RUN_LONG_CYCLE, [acme.pk, "change"])]
    assert BackgroundCycles.objects.get().failures == 0
    assert run_requested_cycle.time_limit == lanes.SHORT_LIMIT_S


def test_a_cycle_that_is_killed_in_the_background_has_failed(
    acme: Organization, background: None, broker: Redis
) -> None:
    limit = TimeLimitExceeded(lanes.LONG_LIMIT_S)

    run_long_cycle.on_failure(limit, "id", [acme.pk, "interval"], {}, None)
    run_requested_cycle(acme.pk)

    assert messages(broker, "background") == []
    assert BackgroundCycles.objects.get().error == "it took longer than 300 s"


def test_a_failing_cycle_pauses_and_one_that_succeeds_ends_the_failure(
    acme: Organization, forge: Cluster, submit: Submit, background: None, broker: Redis,
    broken: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    submit()
    for _ in range(lanes.FAILURES):
        fail_once(acme)
    BackgroundCycles.objects.update(retry_at=timezone.now() + timedelta(minutes=1))
    run_requested_cycle(acme.pk)
    paused = messages(broker, "background")
    BackgroundCycles.objects.update(retry_at=timezone.now())
    run_requested_cycle(acme.pk)
    resumed = messages(broker, "background")

    broken.setattr(next_plan_module, "make_plan", make_plan)
    run_long_cycle(acme.pk, "change")

    assert (paused, len(resumed)) == ([], 1)
    row = BackgroundCycles.objects.get()
    assert (row.failures, row.failing_since, row.retry_at) == (0, None, None)


def test_a_cycle_that_fails_again_and_again_raises_an_alarm(
    acme: Organization, forge: Cluster, submit: Submit, broken: pytest.MonkeyPatch
) -> None:
    submit()
    for _ in range(2):
        fail_once(acme)
    early = list(cycle_alarms.found(timezone.now()))

    fail_once(acme)

    (alarm,) = cycle_alarms.found(timezone.now())
    assert early == []
    assert alarm.level == "critical"
    assert alarm.title.startswith("The cycles of Acme fail since ")
    assert "3 in a row, the last one because of ValueError" in alarm.detail


def test_a_cycle_that_takes_long_raises_an_alarm(acme: Organization) -> None:
    lanes.killed(acme.pk, "change", 45)

    (alarm,) = cycle_alarms.found(timezone.now())

    assert (alarm.level, alarm.title) == ("warning", "A cycle of Acme takes 45 s")


def test_an_organization_whose_rows_are_locked_gets_its_cycles_in_the_background(
    acme: Organization, forge: Cluster, submit: Submit, background: None, broker: Redis
) -> None:
    submit()
    with held("clusters_cluster", forge.pk):
        for _ in range(lanes.FAILURES):
            run_requested_cycle(acme.pk)
        before = messages(broker, "background")
        run_requested_cycle(acme.pk)

    assert before == []
    assert messages(broker, "background") == [(lanes.RUN_LONG_CYCLE, [acme.pk, "change"])]
    row = BackgroundCycles.objects.get()
    assert (row.failures, row.error) == (lanes.FAILURES, lanes.LOCKED)


def test_a_request_during_a_cycle_is_left_to_it_without_any_work(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    planning, resume = Event(), Event()

    def slow(snapshot: Snapshot, backlog: Backlog) -> Plan:
        planning.set()
        assert resume.wait(10)
        return make_plan(snapshot, backlog)

    def first() -> None:
        try:
            run_requested_cycle(acme.pk)
        finally:
            connections.close_all()

    def refuse(*args: object) -> None:
        raise AssertionError("it works although a cycle is running")

    monkeypatch.setattr(next_plan_module, "make_plan", slow)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(first)
        assert planning.wait(10)
        with monkeypatch.context() as during:
            during.setattr(tasks, "_prepare_and_run", refuse)
            run_requested_cycle(acme.pk)
        requested = rerun_requested(RUN_CYCLE, acme.pk)
        resume.set()
        future.result(10)

    assert requested
    assert SchedulingCycle.objects.count() == 1


def test_due_cycles_wait_until_no_change_waits(
    acme: Organization, forge: Cluster, submit: Submit, broker: Redis
) -> None:
    submit()
    assert any(flush() for _ in range(15))  # on a busy machine, the sending takes seconds
    broker.flushall()

    tasks.run_due_cycles()

    assert messages(broker, _LAST) == [("scheduling.run_due_cycle", [acme.pk])]
    assert messages(broker, "celery") == []
    assert messages(broker, "background") == [("scheduling.refresh_reasons", [])]


@pytest.fixture
def cold(
    acme: Organization, forge: Cluster, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process has no copy of the deployments, which count as many."""
    monkeypatch.setattr(warming, "_MANY", 1)
    monkeypatch.setattr(working_copy, "_copies", Kept(1_000))
    submit(cpu_milli=8000)
    submit(cpu_milli=8000)
    run_long_cycle(acme.pk, "change")
    working_copy.forget_all()


def test_a_cold_process_leaves_the_cycle_to_the_background_and_warms_up(
    acme: Organization, cold: None, submit: Submit, background: None, broker: Redis
) -> None:
    urgent = submit(priority=90)
    run_requested_cycle(acme.pk)
    urgent.refresh_from_db()
    assert urgent.status == Status.PENDING
    assert (lanes.RUN_LONG_CYCLE, [acme.pk, "change"]) in messages(broker, "background")

    run_requested_cycle(acme.pk)

    urgent.refresh_from_db()
    assert urgent.status == Status.STARTING


def test_a_process_that_keeps_no_copies_is_never_cold(
    acme: Organization, cold: None, settings: Settings, submit: Submit
) -> None:
    settings.SCHEDULER_COPY_SECONDS = 0
    urgent = submit(priority=90)

    run_requested_cycle(acme.pk)

    urgent.refresh_from_db()
    assert urgent.status == Status.STARTING


def test_warming_up_counts_as_a_long_cycle(
    acme: Organization, cold: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LONG_CPU_S", 0.0)

    run_requested_cycle(acme.pk)

    assert BackgroundCycles.objects.get().pk == acme.pk


def test_a_copy_is_renewed_after_a_cycle_before_it_is_too_old(
    acme: Organization, cold: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(working_copy, "monotonic", lambda: now)
    settings.SCHEDULER_COPY_SECONDS = 100
    warming.warm_up(acme.pk)
    ages = []
    for now in (1070.0, 1080.0):  # noqa: B007 - the clock
        run_requested_cycle(acme.pk)
        ages.append(working_copy.age_s(acme.pk))

    assert ages == [70.0, 0.0]
