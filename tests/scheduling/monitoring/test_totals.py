"""Totals count everything once, and never go back."""

from datetime import datetime, timedelta

import pytest
from django.db import connections
from django.utils import timezone

from benchmarks.service import wait_until
from clusters.models import Cluster
from deployments.choices import Status
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs import events
from orgs.models import Organization
from scheduling.models import CountedUntil, SchedulingCycle, Total
from scheduling.monitoring import totals
from tests.fixtures.deployments import Bring, Submit

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def past() -> datetime:
    """Two hours ago, until when everything is counted."""
    time = timezone.now() - 2 * HOUR
    CountedUntil.objects.create(pk=1, time=time)
    return time


def ran(bring: Bring, placed: datetime, outcome: str = "completed", **fields: object) -> Run:
    """Create a run of ten minutes that waited for 30 seconds."""
    deployment = bring(Status.COMPLETED, **fields)
    Deployment.objects.filter(pk=deployment.pk).update(queued_at=placed - timedelta(seconds=30))
    released = placed + timedelta(minutes=10)
    Run.objects.filter(deployment=deployment).update(
        placed_at=placed, started_at=placed, released_at=released, ended_at=released,
        outcome=outcome,
    )  # fmt: skip
    return Run.objects.get(deployment=deployment)


def total(name: str, label: str = "", organization: Organization | None = None) -> float:
    found = Total.objects.filter(name=name, label=label, organization=organization)
    return sum(found.values_list("value", flat=True))


def test_the_first_count_begins_now(bring: Bring) -> None:
    ran(bring, timezone.now() - 2 * HOUR)

    until = totals.count()

    assert until == CountedUntil.objects.get().time
    assert not Total.objects.exists()


def test_every_run_is_counted_once(bring: Bring, past: datetime, acme: Organization) -> None:
    ran(bring, past + timedelta(minutes=1))
    ran(bring, past + timedelta(minutes=1), outcome="evicted")
    ran(bring, past - HOUR)

    for _ in range(3):
        totals.count()

    assert total("runs", "completed", acme) == total("runs", "evicted", acme) == 1


def test_a_count_continues_where_the_last_one_ended(
    bring: Bring, past: datetime, acme: Organization
) -> None:
    totals.count()
    CountedUntil.objects.update(time=past)
    ran(bring, past + timedelta(minutes=1))
    totals.count()
    ran(bring, timezone.now())

    totals.count()

    assert total("runs", "completed", acme) == 1


def test_what_was_missed_for_a_day_is_counted_in_parts(
    bring: Bring, past: datetime, acme: Organization
) -> None:
    CountedUntil.objects.update(time=past - 24 * HOUR)
    ran(bring, past - 23 * HOUR)
    ran(bring, past - HOUR)

    totals.count()
    assert total("runs", "completed", acme) == 1
    for _ in range(4):
        totals.count()

    assert total("runs", "completed", acme) == 2


def test_totals_survive_the_history(bring: Bring, past: datetime, acme: Organization) -> None:
    ran(bring, past + timedelta(minutes=1))
    totals.count()
    Deployment.objects.all().delete()

    totals.count()

    assert total("runs", "completed", acme) == 1


def test_lost_work_is_counted_from_the_last_checkpoint(
    bring: Bring, past: datetime, acme: Organization
) -> None:
    placed = past + timedelta(minutes=1)
    ran(bring, placed, outcome="evicted", gpu=1)
    saved = ran(bring, placed, outcome="evicted", gpu=1)
    ran(bring, placed, outcome="evicted", gpu=0)
    ran(bring, placed, outcome="completed", gpu=1)
    event = events.record(saved.deployment, "checkpoint", "bob")
    type(event).objects.filter(pk=event.pk).update(time=placed + timedelta(minutes=4))

    totals.count()

    assert total("lost_gpu_s", "evicted", acme) == 600 + 360
    assert not Total.objects.filter(name="lost_gpu_s", label="completed").exists()


def test_waits_are_counted_in_buckets(bring: Bring, past: datetime, acme: Organization) -> None:
    ran(bring, past + timedelta(minutes=1))

    totals.count()

    assert dict(Total.objects.filter(name="wait").values_list("label", "value")) == {
        "30": 1, "sum": 30,
    }  # fmt: skip


def test_the_phases_of_cycles_are_counted_for_the_platform(
    acme: Organization, past: datetime
) -> None:
    SchedulingCycle.objects.create(
        organization=acme, trigger=SchedulingCycle.Trigger.CHANGE,
        started_at=past + timedelta(minutes=1), snapshot_us=5000, plan_us=70_000,
        apply_us=400_000_000, ready=0, placed=0, evicted=0, moved=0, left_pending=0,
    )  # fmt: skip

    totals.count()
    totals.count()

    assert total("cycles", "change", acme) == 1
    assert total("snapshot", "0.005") == total("plan", "0.1") == total("apply", "+Inf") == 1
    assert total("apply", "sum") == 400


def test_submissions_are_counted(submit: Submit, past: datetime, forge: Cluster) -> None:
    submit()
    Deployment.objects.update(created_at=past + timedelta(minutes=1))

    totals.count()

    assert total("submitted", organization=forge.organization) == 1


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_commits_late_is_counted(
    bring: Bring, forge: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "_END", totals._END.replace("1 minute", "1 second"))
    run = ran(bring, timezone.now() - HOUR)
    totals.count()
    late = connections.create_connection("default")
    try:
        with late.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                "UPDATE deployments_run SET released_at = now(), ended_at = now()"
                " WHERE id = %s RETURNING released_at",
                [run.pk],
            )
            released = cursor.fetchone()[0]
            wait_until(lambda: timezone.now() > released + timedelta(seconds=1), "a second passed")
            assert (totals.count() or released) < released
            cursor.execute("COMMIT")
    finally:
        late.close()

    wait_until(lambda: (totals.count() or released) > released, "the transaction is counted")

    assert total("runs", "completed", forge.organization) == 1
