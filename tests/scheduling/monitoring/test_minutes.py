"""The minutes behind the dashboard, on real rows."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from clusters import services as cluster_services
from clusters.capacity import Capacity
from clusters.models import Cluster
from deployments import lifecycle, services
from deployments.choices import Status
from deployments.dependencies import Wait
from deployments.lifecycle import Change, transition
from deployments.models import Deployment
from deployments.runtime.models import Run
from orgs.models import Organization
from scheduling.models import ClusterSample, Sample, SchedulingCycle
from scheduling.monitoring import idle
from scheduling.monitoring.histogram import quantile
from scheduling.monitoring.minutes import MINUTE, take_sample
from tests.fixtures.deployments import Bring, Submit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def an_old_cluster(forge: Cluster) -> None:
    Cluster.objects.update(created_at=NOON - timedelta(days=30))


def ran(
    bring: Bring, placed: datetime, released: datetime | None = None, launched: bool = True,
    **fields: object,
) -> Run:  # fmt: skip
    """Create a run of this length."""
    deployment = bring(Status.COMPLETED if released else Status.STARTING, **fields)
    Deployment.objects.filter(pk=deployment.pk).update(queued_at=placed - timedelta(seconds=30))
    Run.objects.filter(deployment=deployment).update(
        placed_at=placed, launched_at=placed if launched else None, started_at=placed,
        released_at=released, ended_at=released,
    )  # fmt: skip
    return Run.objects.get(deployment=deployment)


def sampled(now: datetime) -> Sample:
    sample = take_sample(now)
    assert sample
    return sample


def test_a_minute_is_recorded_once(forge: Cluster) -> None:
    assert take_sample(NOON + timedelta(seconds=3))
    assert take_sample(NOON + timedelta(seconds=43)) is None

    assert Sample.objects.filter(time=NOON).count() == 1


def test_a_run_is_allocated_once_it_may_have_a_container_and_reserved_before(
    bring: Bring, forge: Cluster
) -> None:
    ran(bring, NOON - MINUTE, cpu_milli=2000, gpu=1)
    ran(bring, NOON - MINUTE, launched=False, cpu_milli=3000, gpu=1)

    sample = sampled(NOON)

    assert (sample.cpu_milli, sample.used_cpu_milli, sample.held_cpu_milli) == (8000, 2000, 3000)
    assert (sample.gpu, sample.used_gpu, sample.held_gpu) == (2, 1, 1)
    of_cluster = ClusterSample.objects.get(cluster=forge, time=NOON)
    assert of_cluster.used_ram_mib == sample.used_ram_mib == 1024


def test_missed_minutes_are_filled_in_from_the_runs(bring: Bring) -> None:
    sampled(NOON)
    ran(bring, NOON + timedelta(seconds=90), NOON + timedelta(seconds=210), cpu_milli=2000)

    sampled(LATER)

    used = Sample.objects.order_by("time").values_list("used_cpu_milli", flat=True)
    assert list(used)[-6:] == [0, 0, 2000, 2000, 0, 0]
    assert ClusterSample.objects.filter(time__gte=NOON).count() == 6
    assert list(
        Sample.objects.filter(ready__isnull=True, time__gt=NOON).values_list("time", flat=True)
    ) == [NOON + n * MINUTE for n in (1, 2, 3, 4)]


def test_the_first_sample_fills_in_a_day(forge: Cluster) -> None:
    sampled(NOON)

    assert Sample.objects.count() == 24 * 60


def test_a_long_gap_is_filled_in_for_a_day_at_most(forge: Cluster) -> None:
    sampled(NOON)
    sampled(NOON + timedelta(days=3))

    assert Sample.objects.count() == 2 * 24 * 60


def test_there_are_samples_without_any_cluster(forge: Cluster) -> None:
    forge.delete()

    sample = sampled(NOON)

    assert (sample.cpu_milli, sample.ready) == (0, {})


def test_a_cluster_has_no_samples_from_before_it_was_added(acme: Organization) -> None:
    young = cluster_services.create(
        actor="alice", organization=acme, name="young", capacity=Capacity(1000, 1024, 0)
    )
    Cluster.objects.filter(pk=young.pk).update(created_at=NOON - timedelta(seconds=150))

    sampled(NOON)

    assert ClusterSample.objects.filter(cluster=young).count() == 4


def test_placements_and_waits_belong_to_the_minute_in_which_they_happened(bring: Bring) -> None:
    ran(bring, NOON - timedelta(seconds=61), NOON - timedelta(seconds=1))
    ran(bring, NOON - timedelta(seconds=59))

    last = sampled(NOON)

    before = Sample.objects.get(time=NOON - MINUTE)
    assert (before.placed, last.placed) == (1, 1)
    assert (before.ended, last.ended) == (0, 1)
    assert 30 <= (quantile(last.waits, 0.5) or 0) <= 36


def test_a_move_is_not_a_wait(bring: Bring, forge: Cluster) -> None:
    deployment = bring(Status.RUNNING)
    change = Change(deployment.pk, "moves", cluster=forge.pk)
    transition(lifecycle.MOVE, [change], actor="system:test", now=timezone.now())

    sample = sampled(timezone.now() + MINUTE)

    assert Sample.objects.get(moved=1)
    assert sum(s.placed for s in Sample.objects.all()) == 1
    assert sample.ready == {}


def test_a_wait_after_an_eviction_begins_with_it(bring: Bring, forge: Cluster) -> None:
    run = ran(bring, NOON - timedelta(hours=2), NOON - timedelta(minutes=10))
    Run.objects.filter(pk=run.pk).update(outcome=Run.Outcome.EVICTED)
    Run.objects.create(
        deployment=run.deployment, cluster=forge, placed_at=NOON - timedelta(seconds=30),
        cpu_milli=1, ram_mib=1, gpu=0,
    )  # fmt: skip

    sample = sampled(NOON)

    assert 570 <= (quantile(sample.waits, 0.5) or 0) <= 570 * 1.2


def test_pending_deployments_are_counted_by_priority_and_by_what_they_wait_for(
    submit: Submit,
) -> None:
    now = timezone.now()
    for priority in (90, 90, 20):
        submit(priority=priority)
    services.hold(submit(), actor="alice")
    Deployment.objects.filter(pk=submit().pk).update(ready_after=now + timedelta(hours=1))
    submit(depends_on=(Wait(submit(priority=5).pk),))

    sample = sampled(now + timedelta(seconds=20))

    assert sample.ready == {"90": 2, "20": 1, "5": 1}
    assert (sample.held_back, sample.delayed, sample.dependent) == (1, 1, 1)


def test_starving_deployments_are_counted(submit: Submit) -> None:
    patient = submit(cpu_milli=8000)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=timezone.now() - timedelta(hours=2))

    sample = sampled(timezone.now())

    assert sample.starving == 1
    assert sample.longest_wait_s is not None
    assert 7190 <= sample.longest_wait_s <= 7290


def test_capacity_reserved_for_a_starving_deployment_is_not_free(
    bring: Bring, submit: Submit, forge: Cluster, endless_turns: None
) -> None:
    bring(Status.RUNNING, cpu_milli=6000, priority=90)
    patient = submit(cpu_milli=4000, priority=50)
    Deployment.objects.filter(pk=patient.pk).update(queued_at=timezone.now() - timedelta(hours=2))
    Run.objects.update(launched_at=timezone.now())

    sample = sampled(timezone.now() + MINUTE)

    assert (sample.used_cpu_milli, sample.held_cpu_milli) == (6000, 2000)


def test_an_inversion_counts_once_it_has_outlasted_a_periodic_cycle(
    bring: Bring, submit: Submit
) -> None:
    now = timezone.now()
    bring(Status.RUNNING, gpu=2, priority=20)
    urgent = submit(gpu=1, priority=90)

    seen = [sampled(now + n * MINUTE) for n in (0, 1)]

    assert [sample.inverted for sample in seen] == [0, 1]
    assert list(seen[1].suspects) == [str(urgent.pk)]


def test_a_new_decision_on_a_suspect_restarts_its_grace_period(
    bring: Bring, submit: Submit
) -> None:
    now = timezone.now()
    bring(Status.RUNNING, gpu=2, priority=20)
    urgent = submit(gpu=1, priority=90)
    sampled(now)
    services.adjust(urgent, actor="alice", priority=95)

    assert sampled(now + MINUTE).inverted == 0


def test_a_deployment_that_waits_despite_free_capacity_is_overlooked(submit: Submit) -> None:
    now = timezone.now()
    submit(gpu=1)

    seen = [sampled(now + n * MINUTE) for n in (0, 1)]

    assert [(s.inverted, s.overlooked) for s in seen] == [(0, 0), (0, 1)]


def test_cycles_are_counted_with_their_durations(acme: Organization) -> None:
    for milliseconds in (2, 5):
        SchedulingCycle.objects.create(
            organization=acme, trigger="change", started_at=NOON - timedelta(seconds=5),
            snapshot_us=1000 * milliseconds, plan_us=0, apply_us=0, ready=0, placed=0, evicted=0,
            moved=0, left_pending=0, suspended=1,
        )  # fmt: skip

    sample = sampled(NOON)

    assert (sample.cycles, sample.cycle_us, sample.slowest_cycle_us) == (2, 7000, 5000)
    assert sample.suspended == 2


def decided(organization: Organization, at: datetime, *idle_gpus: tuple[Cluster, int]) -> None:
    """Record a cycle whose reservations keep these numbers of GPUs idle."""
    kept = {str(c.pk): {"cpu_milli": 0, "ram_mib": 0, "gpu": gpus} for c, gpus in idle_gpus}
    SchedulingCycle.objects.create(
        organization=organization, trigger="interval", started_at=at, idle=kept, snapshot_us=0,
        plan_us=0, apply_us=0, ready=0, placed=0, evicted=0, moved=0, left_pending=0, suspended=0,
    )  # fmt: skip


def test_what_a_cycle_keeps_idle_counts_until_the_next_cycle_of_the_organization(
    acme: Organization, globex: Organization, forge: Cluster, globex_cluster: Cluster
) -> None:
    decided(acme, NOON - timedelta(seconds=75), (forge, 2))
    decided(globex, NOON - timedelta(seconds=40), (globex_cluster, 1))
    decided(acme, NOON - timedelta(seconds=15))

    sample = sampled(NOON)

    before = ClusterSample.objects.get(cluster=forge, time=NOON - MINUTE)
    assert before.idle_gpu == pytest.approx(2 * 15 / 60)
    assert ClusterSample.objects.get(cluster=forge, time=NOON).idle_gpu == pytest.approx(1.5)
    assert sample.idle_cpu_milli == 0
    Cluster.objects.filter(pk=globex_cluster.pk).update(created_at=NOON - timedelta(days=1))
    later = sampled(NOON + MINUTE)
    assert later.idle_gpu == pytest.approx(1)
    assert ClusterSample.objects.get(cluster=forge, time=later.time).idle_gpu == 0


def test_without_a_next_cycle_nothing_is_idle_once_cycles_are_late(
    acme: Organization, forge: Cluster, settings: Settings
) -> None:
    settings.SCHEDULER_INTERVAL = 20
    decided(acme, NOON, (forge, 2))

    sampled(LATER)

    times = Sample.objects.filter(time__gt=NOON).order_by("time")
    assert list(times.values_list("idle_gpu", flat=True)) == [2, 1, 0, 0, 0]


def test_the_share_kept_idle_is_that_of_the_capacity_of_the_samples(
    acme: Organization, globex: Organization, forge: Cluster, globex_cluster: Cluster
) -> None:
    cluster_services.create(
        actor="alice", organization=acme, name="young", capacity=Capacity(1000, 1024, 2)
    )
    Cluster.objects.update(created_at=NOON - timedelta(days=1))
    decided(acme, NOON - timedelta(minutes=2), (forge, 2))
    decided(acme, NOON - timedelta(minutes=1))
    sampled(NOON)
    span = NOON - timedelta(minutes=4), NOON

    assert idle.share(*span, cluster=forge.pk) == pytest.approx(1 / 4)
    assert idle.share(*span, organization=acme.pk) == pytest.approx(1 / 8)
    assert idle.share(*span, organization=globex.pk) == 0
    assert idle.share(*span) == pytest.approx(1 / 12)
    assert idle.share(NOON, LATER) is None


def test_a_sample_takes_the_same_number_of_queries_for_any_number_of_rows(
    bring: Bring, submit: Submit
) -> None:
    counts = []
    for number, more in enumerate((1, 10)):
        for _ in range(more):
            bring(Status.RUNNING, cpu_milli=10, ram_mib=1)
            submit(cpu_milli=10, ram_mib=1)
        with CaptureQueriesContext(connection) as queries:
            sampled(timezone.now() + number * MINUTE)
        counts.append(len(queries))

    assert counts[0] == counts[1]
