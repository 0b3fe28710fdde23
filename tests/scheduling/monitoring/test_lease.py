"""Of several beats one sends messages; another takes over when that one stops."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from celery.beat import ScheduleEntry
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from hypervisor.celery import app
from scheduling.models import Lease as LeaseRow
from scheduling.monitoring import heartbeats
from scheduling.monitoring.beat_scheduler import LEASE_S, STANDBY_S, HeartbeatScheduler
from scheduling.monitoring.lease import Lease

pytestmark = pytest.mark.django_db(transaction=True)


class Beat(HeartbeatScheduler):
    """A beat that records the names of the jobs that it sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        super().__init__(app=app, lazy=True)
        self._finalize.cancel()  # the end of this process is not the end of the beat

    def apply_async(self, entry: ScheduleEntry, *_: Any, **__: Any) -> Any:
        self.sent.append(str(entry.name))


@pytest.fixture(autouse=True)
def job() -> None:
    """The only job is due now, and then once an hour."""
    PeriodicTask.objects.all().delete()
    hour = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    PeriodicTask.objects.create(
        name="job", task="scheduling.note_pulse", interval=hour,
        last_run_at=timezone.now() - timedelta(days=1),
    )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock by which a process counts its lease; the only item is its time."""
    now = [1000.0]
    monkeypatch.setattr("scheduling.monitoring.lease.time.clock_gettime", lambda _: now[0])
    return now


def let_expire() -> None:
    LeaseRow.objects.update(expires_at=timezone.now())


def test_a_second_beat_sends_nothing_while_the_first_works() -> None:
    first, second = Beat(), Beat()

    assert first.tick() == 0
    assert second.tick() == STANDBY_S

    assert (first.sent, second.sent) == (["job"], [])


def test_when_a_beat_stops_another_takes_over_at_once_without_sending_again() -> None:
    first, second = Beat(), Beat()
    second.tick()
    second.close()

    first.tick()

    assert (len(first.sent), len(second.sent)) == (0, 1)
    assert PeriodicTask.objects.get().total_run_count == 1


def test_when_a_beat_is_killed_another_takes_over_when_the_lease_has_expired() -> None:
    killed, other = Beat(), Beat()
    killed.tick()
    let_expire()

    assert other.tick() == 0

    assert other.sent == ["job"]


def test_a_beat_that_was_stopped_for_long_sends_nothing_when_it_continues(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, other = Beat(), Beat()
    monkeypatch.setattr(heartbeats, "record", lambda _: stop(clock, other))

    stopped.tick()

    assert (stopped.sent, other.sent) == ([], ["job"])
    assert stopped.tick() == STANDBY_S


def stop(clock: list[float], other: Beat) -> None:
    """Stop the holder of the lease in the middle of its tick, until another beat has taken over."""
    if clock[0] < 1000 + LEASE_S:
        clock[0] += LEASE_S + 1
        let_expire()
        other.tick()


def test_a_lease_outlives_a_database_that_does_not_answer_for_its_time(
    clock: list[float],
) -> None:
    holder = Lease("work", 15)
    assert holder.hold()

    clock[0] += 14
    assert holder.is_valid
    clock[0] += 2
    assert not holder.is_valid


def test_a_lease_from_before_the_clock_was_set_back_is_free() -> None:
    with time_machine.travel(timezone.now()):
        assert Lease("work", 15).hold()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE scheduling_lease SET expires_at = expires_at + interval '1 day'")

        assert Lease("work", 15).hold()


def test_only_its_holder_releases_a_lease() -> None:
    holder, other = Lease("work", 15), Lease("work", 15)
    holder.hold()

    other.release()
    assert not other.hold()
    holder.release()

    assert other.hold()
